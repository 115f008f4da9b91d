/** Which part of the time is seen. Pure: it knows nothing of the page. */
import type { Period } from '../items.js'

/** Nothing is shorter than this, in milliseconds: the clock tells no more. */
const SHORTEST = 0.001

export class View {
  /** When the recording begins, and how long it is. */
  readonly #first: number
  readonly #total: number
  #from: number
  #span: number

  constructor({ from, to }: Period) {
    this.#first = from
    this.#total = Math.max(to - from, SHORTEST)
    this.#from = from
    this.#span = this.#total
  }

  get from(): number {
    return this.#from
  }

  get span(): number {
    return this.#span
  }

  toX(millis: number, width: number): number {
    return ((millis - this.#from) / this.#span) * width
  }

  toMillis(x: number, width: number): number {
    return this.#from + (x / width) * this.#span
  }

  /** Shows `factor` times as much, and keeps `at` where it is. */
  zoom(factor: number, at = this.#from + this.#span / 2): void {
    const span = Math.min(this.#total, Math.max(SHORTEST, this.#span * factor))
    const place = (at - this.#from) / this.#span
    this.#show(at - place * span, span)
  }

  pan(millis: number): void {
    this.#show(this.#from + millis, this.#span)
  }

  showAll(): void {
    this.#show(this.#first, this.#total)
  }

  /** Brings a time into sight: nearer where it would be too small to be seen, farther where it does not fit. */
  reveal(start: number, end: number): void {
    const length = Math.max(end - start, SHORTEST)
    const isInside = start >= this.#from && end <= this.#from + this.#span
    if (isInside && length > this.#span / 200) return
    const span = length > this.#span || length < this.#span / 200 ? length * 8 : this.#span
    const fitting = Math.min(this.#total, span)
    this.#show((start + end - fitting) / 2, fitting)
  }

  #show(from: number, span: number): void {
    this.#span = span
    this.#from = Math.min(Math.max(this.#first, from), this.#first + this.#total - span)
  }
}
