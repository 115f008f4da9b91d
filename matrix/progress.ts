/** How far a cell has come: one line that is written again, or one a minute where that can't be done. */
import { readFileSync } from 'node:fs'

const { stdout, env } = process
const redraws = stdout.isTTY && env['TERM'] !== 'dumb'
const PAUSE_MILLIS = redraws ? 1_000 : 60_000

export class Progress implements Disposable {
  readonly #label: string
  readonly #records: string
  readonly #expected: number | null
  readonly #start = performance.now()
  readonly #timer: NodeJS.Timeout

  /**
   * @param records the file that gets a line for each test
   * @param expected how many tests there were the last time
   */
  constructor(label: string, records: string, expected: number | null) {
    this.#label = label
    this.#records = records
    this.#expected = expected
    stdout.write(`${label}${redraws ? '' : '\n'}`)
    this.#timer = setInterval(() => this.#show(), PAUSE_MILLIS)
  }

  get seconds(): number {
    return Math.round((performance.now() - this.#start) / 1_000)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    if (redraws) stdout.write('\r\x1b[2K')
  }

  #show(): void {
    const expected = this.#expected === null ? '' : ` of about ${this.#expected}`
    const text = `${clock(this.seconds)}, ${countLines(this.#records)}${expected} tests`
    stdout.write(redraws ? `\r\x1b[2K${this.#label}  ${text}` : `  ${text}\n`)
  }
}

/** Minutes and seconds. */
function clock(seconds: number): string {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

function countLines(file: string): number {
  try {
    return readFileSync(file, 'utf8').split('\n').length - 1
  } catch {
    return 0 // the first test is not yet done
  }
}
