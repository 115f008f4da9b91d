/** Moving the picture with a mouse or a finger. */
import type { Board } from './board.js'

/** How much a turn of the wheel zooms: pixels for a factor of e. */
const WHEEL_PIXELS = 400
/** A pointer that has moved less was a click. */
const CLICK_PIXELS = 4
/** Pixels of a line, where a wheel turns by lines. */
const LINE_PIXELS = 16

export function movedByPointer(board: Board): void {
  const { element } = board
  element.addEventListener('wheel', (event) => onWheel(board, event), { passive: false })
  const drag = new Drag(board)
  element.addEventListener('pointerdown', (event) => drag.begin(event))
  element.addEventListener('pointermove', (event) => drag.move(event))
  element.addEventListener('pointerup', (event) => drag.end(event))
  element.addEventListener('pointercancel', () => drag.cancel())
}

/** Up and down zooms, sideways moves; with the shift key it scrolls through the lanes. */
function onWheel(board: Board, event: WheelEvent): void {
  event.preventDefault()
  const { element, view, width } = board
  const scale = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_PIXELS : 1
  const [sideways, turned] = [event.deltaX * scale, event.deltaY * scale]
  if (event.shiftKey) element.scrollTop += turned === 0 ? sideways : turned
  else {
    if (Math.abs(sideways) > Math.abs(turned)) view.pan((sideways / width) * view.span)
    else view.zoom(Math.exp(turned / WHEEL_PIXELS), board.millisAt(event))
    board.redraw()
  }
}

class Drag {
  readonly #board: Board
  /** Fingers that are down, and where. */
  readonly #pointers = new Map<number, PointerEvent>()
  #moved = 0

  constructor(board: Board) {
    this.#board = board
  }

  begin(event: PointerEvent): void {
    if (event.button !== 0) return
    if (this.#pointers.size === 0) this.#moved = 0
    this.#pointers.set(event.pointerId, event)
  }

  move(event: PointerEvent): void {
    const before = this.#pointers.get(event.pointerId)
    if (before === undefined) return
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY]
    this.#moved += Math.abs(dx) + Math.abs(dy)
    if (this.#moved < CLICK_PIXELS) return
    const { element, view, width } = this.#board
    if (!element.hasPointerCapture(event.pointerId)) element.setPointerCapture(event.pointerId)
    const other = [...this.#pointers.values()].find(({ pointerId }) => pointerId !== event.pointerId)
    if (other !== undefined) this.#pinch(other, before, event)
    else {
      view.pan((-dx / width) * view.span)
      // A finger scrolls by itself.
      if (event.pointerType === 'mouse') element.scrollTop -= dy
    }
    this.#pointers.set(event.pointerId, event)
    this.#board.redraw()
  }

  #pinch(other: PointerEvent, before: PointerEvent, event: PointerEvent): void {
    const apart = (one: PointerEvent): number => Math.max(8, Math.abs(one.clientX - other.clientX))
    this.#board.view.zoom(apart(before) / apart(event), this.#board.millisAt(other))
  }

  end(event: PointerEvent): void {
    const wasDown = this.#pointers.delete(event.pointerId)
    if (!wasDown || this.#moved >= CLICK_PIXELS) return
    const item = this.#board.itemAt(event)
    if (item !== null) this.#board.select(item)
  }

  cancel(): void {
    this.#pointers.clear()
  }
}
