/** Finds items by what is written on them, and goes from one to the next. */
import type { Board } from './board.js'
import type { Shown } from './model.js'

export class Search {
  readonly #board: Board
  readonly #field: HTMLInputElement
  readonly #output: HTMLElement
  #found: readonly Shown[] = []
  /** The one that is shown; -1 before the first. */
  #at = -1

  constructor(board: Board, field: HTMLInputElement, output: HTMLElement) {
    this.#board = board
    this.#field = field
    this.#output = output
    field.addEventListener('input', () => this.#search())
    field.addEventListener('keydown', (event) => this.#onKey(event))
  }

  focus(): void {
    this.#field.focus()
    this.#field.select()
  }

  #search(): void {
    const words = this.#field.value.trim().toLowerCase()
    const isOn = words !== ''
    this.#found = isOn ? this.#board.model.inOrder.filter(({ haystack }) => haystack.includes(words)) : []
    this.#at = -1
    this.#board.highlight(isOn ? this.#found : null)
    this.#tell(isOn)
  }

  #tell(isOn: boolean): void {
    const many = this.#found.length
    const place = this.#at < 0 ? `${many} found` : `${this.#at + 1} of ${many}`
    this.#output.textContent = !isOn ? '' : many === 0 ? 'nothing found' : place
  }

  #onKey(event: KeyboardEvent): void {
    if (event.key === 'Enter') this.#go(event.shiftKey ? -1 : 1)
    else if (event.key === 'Escape') {
      this.#field.value = ''
      this.#search()
    } else return
    event.preventDefault()
  }

  /** To the next one, or the one before; behind the last comes the first again. */
  #go(step: 1 | -1): void {
    const many = this.#found.length
    if (many === 0) return
    this.#at = this.#at < 0 ? (step > 0 ? 0 : many - 1) : (this.#at + step + many) % many
    this.#board.show(this.#found[this.#at]!)
    this.#tell(true)
  }
}
