/** How far a long run has come: one line that is written again, or a line now and then where that can't be done. */
const { stdout, env } = process
const redraws = stdout.isTTY && env['TERM'] !== 'dumb'
const PAUSE_MILLIS = redraws ? 200 : 15_000

export class Progress implements Disposable {
  readonly #title: string
  readonly #start = performance.now()
  #shownAt = -Infinity

  constructor(title: string) {
    this.#title = title
    say(`${title} …`)
  }

  /** `done` of `all` are done; `facts` says what has been found so far. */
  show(done: number, all: number, facts: string): void {
    const now = performance.now()
    if (now - this.#shownAt < PAUSE_MILLIS) return
    this.#shownAt = now
    const rate = done / ((now - this.#start) / 1_000)
    const left = rate > 0 ? duration(((all - done) / rate) * 1_000) : '?'
    const percent = String(Math.floor((done / all) * 100)).padStart(3)
    const line = `  ${this.#title}: ${percent} %, ${rate.toFixed(1)} a second, ${left} left; ${facts}`
    stdout.write(redraws ? `\r\x1b[2K${line.slice(0, (stdout.columns || 80) - 1)}` : `${line}\n`)
  }

  [Symbol.dispose](): void {
    if (redraws) stdout.write('\r\x1b[2K')
  }
}

export function say(text: string): void {
  stdout.write(`${text}\n`)
}

export function duration(millis: number): string {
  const seconds = Math.round(millis / 1_000)
  return seconds < 100 ? `${seconds} s` : `${Math.round(seconds / 60)} min`
}
