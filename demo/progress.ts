/** How far something has come: a line that is written again and again, or a line at each quarter. */
import { count, isTerminal, paint, width, write } from './screen.js'

const BAR_WIDTH = 30
const REDRAW_MILLIS = 80

export class Progress implements Disposable {
  readonly #label: string
  readonly #total: number
  readonly #start = performance.now()
  readonly #timer: NodeJS.Timeout | undefined
  #done = 0
  #quarters = 0
  #note = ''
  #over = false

  constructor(label: string, total: number) {
    this.#label = label
    this.#total = total
    if (isTerminal) this.#timer = setInterval(() => this.#draw(), REDRAW_MILLIS)
  }

  get done(): number {
    return this.#done
  }

  /** Nobody follows it any more, whether or not everything was done. */
  get over(): boolean {
    return this.#over
  }

  /** One more is done. Cheap: what is measured must not feel it. */
  tick(): void {
    this.#done++
    if (!isTerminal && this.#done * 4 >= (this.#quarters + 1) * this.#total) this.#tellQuarter()
  }

  /** What is going on just now. */
  note(text: string): void {
    this.#note = text
    if (isTerminal) this.#draw()
  }

  [Symbol.dispose](): void {
    this.#over = true
    clearInterval(this.#timer)
    if (isTerminal) process.stdout.write('\r\x1b[2K')
  }

  #draw(): void {
    const filled = Math.min(BAR_WIDTH, Math.floor((this.#done / this.#total) * BAR_WIDTH))
    const bar = paint('green', '#'.repeat(filled)) + paint('dim', '-'.repeat(BAR_WIDTH - filled))
    const tail = ` ${count(this.#done)} of ${count(this.#total)} ${this.#note}`
    // A line that is too long would be two, of which only one can be written again.
    process.stdout.write(`\r\x1b[2K  [${bar}]${tail.slice(0, Math.max(0, width() - BAR_WIDTH - 5))}`)
  }

  #tellQuarter(): void {
    this.#quarters++
    const seconds = ((performance.now() - this.#start) / 1_000).toFixed(1)
    write(
      `  ${this.#label}: ${count(this.#done)} of ${count(this.#total)} after ${seconds} s ${this.#note}`.trimEnd(),
    )
  }
}
