/** The page's script: puts the picture, the search, the details and the table together. */
import { Board } from './board.js'
import { showDetails } from './details.js'
import { byId } from './elements.js'
import { centreOf, movedByKeys } from './keys.js'
import { readModel } from './model.js'
import { movedByPointer } from './pointer.js'
import { Search } from './search.js'
import { Table } from './table.js'

const ZOOM = 2

function start(): void {
  const model = readModel(byId('data').textContent ?? '')
  const board = new Board(byId('chart'), model)
  board.onSelect = (item) => showDetails(byId('details'), model, item)
  const search = new Search(board, byId('search'), byId('found'))
  movedByPointer(board)
  movedByKeys(board, search)
  wireButtons(board)
  new Table(board, byId('table'))
}

function wireButtons(board: Board): void {
  const onClick = (id: string, act: () => void): void => {
    byId(id).addEventListener('click', () => {
      act()
      board.redraw()
    })
  }
  onClick('zoom-in', () => board.view.zoom(1 / ZOOM, centreOf(board)))
  onClick('zoom-out', () => board.view.zoom(ZOOM, centreOf(board)))
  onClick('zoom-all', () => board.view.showAll())
  for (const button of document.querySelectorAll<HTMLElement>('[data-item]')) {
    const item = board.model.items.find(({ id }) => String(id) === button.dataset['item'])
    if (item !== undefined) button.addEventListener('click', () => board.show(item))
  }
}

start()
