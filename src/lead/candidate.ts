import { inNobodysContext } from '../util/clock.js'
import { become, type Transitions } from '../util/transitions.js'
import { epochOf } from './lock.js'
import type { Leadership } from '../api/ports.js'
import type { Backend } from '../backend/backend.js'
import type { Held } from './locks.js'

type State = 'waiting' | 'trying' | 'leading' | 'leaving' | 'over'

const NEXT: Transitions<State> = {
  waiting: ['trying', 'over'],
  trying: ['leading', 'over'],
  leading: ['leaving'],
  leaving: ['over'],
  over: [],
}

/**
 * One who stands for a name, and leads it once it is elected.
 *
 * States: `waiting` (others of this manager stand for it, too, and came before) → `trying` (asks for the lock, again and
 * again) → `leading` (the work may run, though leadership may be lost already) → `leaving` (the lock is given back) →
 * `over`. Who gives up goes from `waiting` or `trying` to `over`.
 */
export class Candidate implements Leadership {
  readonly name: string
  /** How long it waits before it asks for the lock again. */
  readonly retryMillis: number
  /** Settles when it leads, or gives up. */
  readonly elected: Promise<Leadership>
  readonly #stepDown: (candidate: Candidate) => Promise<void>
  readonly #givenUp = new AbortController()
  readonly #lost = new AbortController()
  #resolve!: (leadership: Leadership) => void
  #reject!: (error: unknown) => void
  #state: State = 'waiting'
  /** The lock, once it was elected. */
  held: Held | null = null

  constructor(name: string, retryMillis: number, stepDown: (candidate: Candidate) => Promise<void>) {
    this.name = name
    this.retryMillis = retryMillis
    this.#stepDown = stepDown
    this.elected = new Promise<Leadership>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  get state(): State {
    return this.#state
  }

  become(next: State): void {
    this.#state = become('a candidate', NEXT, this.#state, next)
  }

  /** Aborted when it has given up. */
  get givenUp(): AbortSignal {
    return this.#givenUp.signal
  }

  /** Gives up, unless it leads already: who has asked for it hears that at once. */
  giveUp(reason: unknown): void {
    if (this.#state !== 'waiting' && this.#state !== 'trying') return
    this.#reject(reason)
    this.#givenUp.abort(reason)
  }

  win(held: Held): void {
    this.become('leading')
    this.held = held
    this.#resolve(this)
  }

  /** Leads by a lock of this backend's. */
  leadsOn(backend: Backend): boolean {
    return this.leads && this.held?.backend === backend
  }

  /** Nobody else can lead, as far as is known. */
  get leads(): boolean {
    return this.#state === 'leading' && !this.signal.aborted
  }

  /** Leadership is not certain any more. */
  depose(cause: Error): void {
    if (this.leads) inNobodysContext(() => this.#lost.abort(cause))
  }

  // ---- what its asker knows

  get signal(): AbortSignal {
    return this.#lost.signal
  }

  get epoch(): bigint {
    return epochOf(this.held!.row)
  }

  stepDown(): Promise<void> {
    return this.#stepDown(this)
  }
}
