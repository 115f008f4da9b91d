/**
 * A turn, as the worker that has asked for it sees it.
 *
 * States: `waiting` → `held` (granted, or started because it was known to be next) → `left` (its callback has
 * settled or its handle was released; the owner settles it) → `over`. A turn that was refused, given up or taken
 * back is `over` at once.
 */
import { withCallersFrames } from '../../util/callers-frames.js'
import { ConnectionReleasedError } from '../../errors.js'
import type { TransactionStatus } from '../../index.js'
import type { TurnKind } from '../protocol.js'

type State = 'waiting' | 'held' | 'left' | 'over'

export class RemoteLease {
  readonly id: number
  readonly kind: TurnKind
  #state: State = 'waiting'
  /** Whether each statement commits by itself. */
  autocommit: boolean
  /** What the session does between statements. */
  status: TransactionStatus = 'idle'
  /** How many of its statements are unanswered, streams that are being read included. */
  outstanding = 0
  /** How many streams are being read. */
  streams = 0
  /** Its time has passed, and the owner takes it out of the line: it starts when it is granted, or never. */
  expiring = false
  /** Something of it may have been committed, although its callback threw. */
  mayHaveCommitted = false
  /** Its nested transactions that are open, by their numbers, as they will settle; null before the first. */
  nested: Map<number, Promise<unknown>> | null = null
  /** Why it was taken back. */
  revocation: unknown = null
  /** Settles with the turn, once it has been left. */
  departure: Promise<void> | null = null
  /** Told when it is taken back. */
  onRevoked: ((error: unknown) => void) | null = null
  #answer!: { granted(turn: RemoteLease | null): void; refused(error: unknown): void }
  #settlement: { resolve(): void; reject(error: unknown): void } | null = null

  constructor(id: number, kind: TurnKind, autocommit: boolean) {
    this.id = id
    this.kind = kind
    this.autocommit = autocommit
  }

  get state(): State {
    return this.#state
  }

  /** The library ends its transaction. */
  get owned(): boolean {
    return this.kind === 'transaction'
  }

  /** Resolves with the turn once it is granted, with null where `tryAcquire` gets none. To be asked for once. */
  get granted(): Promise<RemoteLease | null> {
    const answered = new Promise<RemoteLease | null>(
      (granted, refused) => (this.#answer = { granted, refused }),
    )
    return answered.catch(withCallersFrames)
  }

  grant(): void {
    if (this.#state !== 'waiting') throw new Error('BUG: a turn was granted twice')
    this.#state = 'held'
    this.#answer.granted(this)
  }

  /** Nothing comes of it: with an error, or with null for a `tryAcquire`. */
  refuse(error: unknown): void {
    this.#state = 'over'
    if (error === null) this.#answer.granted(null)
    else this.#answer.refused(error)
  }

  /** The owner has taken it back. */
  revoke(error: unknown): void {
    this.#state = 'over'
    this.revocation = error
    this.onRevoked?.(error)
  }

  /** It has been left. Resolves once the owner has settled it. */
  leave(): Promise<void> {
    if (this.#state !== 'held') throw new Error('BUG: a turn was left twice')
    this.#state = 'left'
    const settled = new Promise<void>((resolve, reject) => (this.#settlement = { resolve, reject }))
    return (this.departure = settled.catch(withCallersFrames))
  }

  settle(): void {
    this.#state = 'over'
    this.#settlement!.resolve()
  }

  settleWith(error: unknown): void {
    this.#state = 'over'
    this.#settlement!.reject(error)
  }

  /** The failures of nested transactions that nobody waits for are reported by the one who leaves. */
  markNestedHandled(): void {
    for (const running of this.nested?.values() ?? []) running.catch(() => {})
  }

  /** Why nothing more may be asked for; null while it may. */
  refusal(): Error | null {
    if (this.revocation !== null) return this.revocation as Error
    return this.#state === 'held' ? null : new ConnectionReleasedError()
  }
}
