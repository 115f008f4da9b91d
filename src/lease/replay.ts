/**
 * What is sent again when the connection dies: the opening of the lease, once, where its BEGIN is all that the server
 * may have seen. What is asked for meanwhile is parked until there is a new connection.
 *
 * States: `fresh` (nothing was sent) → `sent` → `answered` (a new connection would not be the same
 * any more). `parked` comes of `fresh` or `sent` when the connection dies, and leads back to `fresh` with a new one.
 * `lost` is the end.
 */
import { become, type Transitions } from '../util/transitions.js'
import type { Request } from '../pipeline/request.js'

type State = 'fresh' | 'sent' | 'answered' | 'parked' | 'lost'

const NEXT: Transitions<State> = {
  fresh: ['sent', 'parked', 'lost'],
  sent: ['answered', 'parked', 'lost'],
  answered: ['lost'],
  parked: ['fresh', 'lost'],
  lost: ['lost'],
}

/** Most leases park nothing. */
const NONE: readonly Request[] = []

export class Replay {
  #state: State = 'fresh'
  #replayed = false
  /** What waits for a new connection, in order. */
  parked = NONE

  /** Something was sent on the present connection. */
  get used(): boolean {
    return this.#state === 'sent' || this.#state === 'answered'
  }

  /** There is no connection, and a new one is waited for. */
  get isParked(): boolean {
    return this.#state === 'parked'
  }

  onSending(): void {
    if (this.#state === 'fresh') this.#become('sent')
  }

  onAnswered(): void {
    if (this.#state === 'sent') this.#become('answered')
  }

  /** Whether a new connection may stand in for one that died with `sent` unanswered. */
  isPossible(sent: readonly Request[]): boolean {
    if (this.#state === 'fresh') return sent.length === 0
    return this.#state === 'sent' && !this.#replayed && sent.length === 1 && isPendingOpening(sent[0]!)
  }

  /** The connection is gone: `requests` are to be sent on the next one. */
  park(requests: readonly Request[]): void {
    if (this.#state === 'sent') this.#replayed = true
    this.#become('parked')
    this.parked = requests
  }

  /** Takes back what waits; false where it does not. */
  withdraw(request: Request): boolean {
    if (!this.parked.includes(request)) return false
    this.parked = this.parked.filter((one) => one !== request)
    return true
  }

  takeAll(): readonly Request[] {
    const { parked } = this
    this.parked = NONE
    return parked
  }

  /** There is a new connection: gives what is to be sent on it. */
  resume(): readonly Request[] {
    this.#become('fresh')
    return this.takeAll()
  }

  /** No connection will stand in. Gives what had waited for one. */
  lose(): readonly Request[] {
    this.#become('lost')
    return this.takeAll()
  }

  #become(next: State): void {
    this.#state = become('a replay', NEXT, this.#state, next)
  }
}

/** It opens a transaction and may be sent once more: its BEGIN is unanswered, and nobody wants it cancelled. */
function isPendingOpening({ beginPending, guard }: Request): boolean {
  return beginPending && guard?.reached !== true
}

/** What of it was sent may be committed by now. */
export function mayHaveCommitted({ sent, admission }: Request): boolean {
  return sent && admission.mayCommit
}
