/** The end of a broker: new work is refused, those who wait are served, then everything is closed. */
import { timerFor } from '../util/timer.js'
import { Deferred } from './deferred.js'

export class Ending {
  /** Its time is over, or all of it is: nothing is opened any more. */
  abandoned = false
  readonly #drained = new Deferred()
  readonly #whenOver: (() => void)[] = []
  #promise: Promise<void> | null = null

  get begun(): boolean {
    return this.#promise !== null
  }

  /** Begins it, or joins the one under way. `abandon` is called once `timeoutMillis` are over, `finish` at the end. */
  begin(timeoutMillis: number, abandon: () => Promise<void>, finish: () => Promise<void>): Promise<void> {
    return (this.#promise ??= this.#run(timeoutMillis, abandon, finish))
  }

  async #run(
    timeoutMillis: number,
    abandon: () => Promise<void>,
    finish: () => Promise<void>,
  ): Promise<void> {
    const timer = timerFor(timeoutMillis, () => {
      this.abandoned = true
      void abandon().then(() => this.drained())
    })
    await this.#drained.promise
    timer?.stop()
    await finish()
    this.abandoned = true
    for (const tell of this.#whenOver) tell()
  }

  /** Nobody waits, and nothing is under way. */
  drained(): void {
    this.#drained.resolve()
  }

  onOver(tell: () => void): void {
    this.#whenOver.push(tell)
  }
}
