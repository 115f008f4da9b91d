/** How far the measuring has come: one line that is written again, or a line per row where that can't be done. */
const { stdout, env } = process
const redraws = stdout.isTTY && env['TERM'] !== 'dumb'

export class Progress implements Disposable {
  readonly #total: number
  #row = 0
  #label = ''

  constructor(total: number) {
    this.#total = total
  }

  /** The next row begins. */
  begin(title: string): void {
    this.#row++
    this.#label = `[${this.#row}/${this.#total}] ${title}`
    if (redraws) this.step('')
    else stdout.write(`${this.#label}\n`)
  }

  /** What is going on just now. Written between measurements, never during one. */
  step(text: string): void {
    if (redraws) stdout.write(`\r\x1b[2K${`${this.#label}  ${text}`.slice(0, (stdout.columns || 80) - 1)}`)
  }

  /** Something that stays to be read. */
  note(text: string): void {
    this[Symbol.dispose]()
    stdout.write(`  note: ${text}\n`)
  }

  [Symbol.dispose](): void {
    if (redraws) stdout.write('\r\x1b[2K')
  }
}
