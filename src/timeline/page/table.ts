/** Everything as a table, a page at a time: for screen readers, and for who likes rows better than pictures. */
import { duration } from '../durations.js'
import { describe } from './details.js'
import { byId, make } from './elements.js'
import type { Board } from './board.js'
import type { Shown } from './model.js'

const PAGE = 100
/** How much of a text a cell has; the details have all of it. */
const CELL_LENGTH = 120

export class Table {
  readonly #board: Board
  readonly #element: HTMLDetailsElement
  #first = 0

  constructor(board: Board, element: HTMLDetailsElement) {
    this.#board = board
    this.#element = element
    element.addEventListener('toggle', () => this.#fill())
    byId('earlier').addEventListener('click', () => this.#turn(-PAGE))
    byId('later').addEventListener('click', () => this.#turn(PAGE))
  }

  #turn(by: number): void {
    const many = this.#board.model.inOrder.length
    const first = this.#first + by
    if (first >= 0 && first < many) this.#first = first
    this.#fill()
  }

  #fill(): void {
    if (!this.#element.open) return
    const all = this.#board.model.inOrder
    const page = all.slice(this.#first, this.#first + PAGE)
    this.#element.querySelector('tbody')!.replaceChildren(...page.map((item) => this.#row(item)))
    const last = this.#first + page.length
    byId('range').textContent = `${Math.min(this.#first + 1, last)} to ${last} of ${all.length}`
  }

  #row(item: Shown): HTMLElement {
    const { kind, title, label, start, end, mark } = item
    const button = make('button', duration(Math.max(0, start)))
    button.type = 'button'
    button.className = 'link'
    button.ariaLabel = describe(item)
    button.addEventListener('click', () => this.#board.show(item))
    // Who goes through the table with the keyboard sees each in the picture.
    button.addEventListener('focus', () => this.#board.show(item))
    const took = kind === 'event' ? '' : duration(end - start)
    const text = title.length > CELL_LENGTH ? `${title.slice(0, CELL_LENGTH)}…` : title
    const cells = [button, took, kind, label ?? '', text, mark ?? '']
    return make('tr', ...cells.map((cell) => make('td', cell)))
  }
}
