/** Moving the picture, and going through what is in it, with the keyboard. */
import type { Board } from './board.js'
import type { Shown } from './model.js'

/** How much of what is seen one key moves. */
const STEP = 0.15
const ZOOM = 1.5
/** Pixels that one key scrolls. */
const SCROLL = 60

/** What is done for each key in the picture. */
function actionsOf(board: Board): Readonly<Record<string, () => void>> {
  const { view, element } = board
  const marked = board.model.inOrder.filter(({ mark }) => mark !== null)
  return {
    '+': () => view.zoom(1 / ZOOM, centreOf(board)),
    '=': () => view.zoom(1 / ZOOM, centreOf(board)),
    '-': () => view.zoom(ZOOM, centreOf(board)),
    '0': () => view.showAll(),
    ArrowLeft: () => view.pan(-view.span * STEP),
    ArrowRight: () => view.pan(view.span * STEP),
    ArrowUp: () => (element.scrollTop -= SCROLL),
    ArrowDown: () => (element.scrollTop += SCROLL),
    PageUp: () => (element.scrollTop -= element.clientHeight),
    PageDown: () => (element.scrollTop += element.clientHeight),
    n: () => step(board, board.model.inOrder, 1),
    p: () => step(board, board.model.inOrder, -1),
    m: () => step(board, marked, 1),
    M: () => step(board, marked, -1),
  }
}

/** What is selected stays in sight. */
export function centreOf({ view, selected }: Board): number {
  const middle = view.from + view.span / 2
  if (selected === null) return middle
  const at = (selected.start + selected.end) / 2
  return at >= view.from && at <= view.from + view.span ? at : middle
}

/** To the next one of these in order of time, or the one before. */
function step(board: Board, all: readonly Shown[], by: 1 | -1): void {
  const { selected } = board
  const isBehind = (one: Shown): boolean =>
    selected === null || one.start > selected.start || (one.start === selected.start && one.id > selected.id)
  const behind = all.findIndex(isBehind)
  const first = behind < 0 ? all.length : behind
  const isAmong = selected !== null && all[first - 1] === selected
  const next = all[by > 0 ? first : first - (isAmong ? 2 : 1)]
  if (next !== undefined) board.show(next)
}

export function movedByKeys(board: Board, search: { focus(): void }): void {
  const actions = actionsOf(board)
  board.element.addEventListener('keydown', (event) => {
    const action = actions[event.key]
    if (action === undefined || event.ctrlKey || event.metaKey || event.altKey) return
    event.preventDefault()
    action()
    board.redraw()
  })
  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.target instanceof HTMLInputElement) return
    event.preventDefault()
    search.focus()
  })
}
