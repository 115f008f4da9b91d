/**
 * The end of a broker: new work is refused, those who wait are served, then everything is closed.
 *
 * States: `none` → `draining` → `abandoned` (its time is over, and nobody is waited for any more) → `over`, or from
 * `draining` straight to `over`.
 */
import { timerFor } from '../util/timer.js'
import { become, type Transitions } from '../util/transitions.js'
import { Deferred } from '../util/deferred.js'

type State = 'none' | 'draining' | 'abandoned' | 'over'

const NEXT: Transitions<State> = {
  none: ['draining'],
  draining: ['abandoned', 'over'],
  abandoned: ['over'],
  over: [],
}

export class Ending {
  readonly #drained = new Deferred()
  #state: State = 'none'
  #promise: Promise<void> | null = null
  #whenOver: (() => void)[] = []

  /** New work is refused. */
  get begun(): boolean {
    return this.#state !== 'none'
  }

  /** Nothing is opened any more. */
  get abandoned(): boolean {
    return this.#state === 'abandoned' || this.#state === 'over'
  }

  /** Begins it, or joins the one under way. `abandon` is called once `timeoutMillis` are over, `finish` at the end. */
  begin(timeoutMillis: number, abandon: () => Promise<void>, finish: () => Promise<void>): Promise<void> {
    this.#promise ??= this.#run(timeoutMillis, abandon, finish)
    return this.#promise
  }

  async #run(
    timeoutMillis: number,
    abandon: () => Promise<void>,
    finish: () => Promise<void>,
  ): Promise<void> {
    this.#become('draining')
    const timer = timerFor(timeoutMillis, () => {
      this.#become('abandoned')
      void abandon().then(() => this.drained())
    })
    await this.#drained.promise
    timer?.stop()
    await finish()
    this.#become('over')
    for (const tell of this.#whenOver) tell()
  }

  /** Nobody waits, and nothing is under way. */
  drained(): void {
    this.#drained.resolve()
  }

  /** Calls `tell` at the very end. */
  onOver(tell: () => void): void {
    this.#whenOver.push(tell)
  }

  #become(next: State): void {
    this.#state = become('an ending', NEXT, this.#state, next)
  }
}
