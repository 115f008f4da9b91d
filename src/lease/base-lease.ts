/**
 * What nests and is settled: a lease of the local broker, and a turn in a sandbox. What leaving and nesting ask of one
 * is said here, and what both have in common.
 *
 * States: `held` → `leaving` (its callback has settled or its handle was released: nothing new is taken, what is in
 * flight is waited for) → `over` (passed on). `revoked` comes instead when the hold timed out or the holder is gone:
 * everything on it is rejected at once, whatever still runs.
 */
import { CommitRolledBackError } from '../errors.js'
import { withCallersFrames } from '../util/callers-frames.js'
import { now } from '../util/clock.js'
import { become, type Transitions } from '../util/transitions.js'
import { openNested } from './nested.js'
import { release } from './release.js'
import type { TransactionStatus } from '../api/connection.js'
import type { LeaseTerms, Leaving, NestedTransaction } from '../api/ports.js'
import type { Backend } from '../backend/backend.js'
import type { ConnectionLostError, TransactionEndedError } from '../errors.js'
import type { RollbackEvent } from '../events.js'
import type { ResolvedOptions } from '../options.js'
import type { Commitment } from './commitment.js'
import type { ControlLimits } from './lease-owner.js'
import type { EndAnswer, Loss, ServerState } from './settlement.js'

type State = 'held' | 'leaving' | 'revoked' | 'over'

const NEXT: Transitions<State> = {
  held: ['leaving', 'revoked', 'over'],
  leaving: ['leaving', 'revoked', 'over'],
  revoked: ['over'],
  over: [],
}

/** What is known of its transaction. */
interface BaseTransaction {
  autocommit: boolean
  owned: boolean
  readonly open: boolean
  readonly openedBy: string | null
  readonly swallowed: Error | null
  readonly endedByText: boolean
  endedError(cause?: unknown): TransactionEndedError
}

/** What is asked for on it. */
export interface BaseRequests {
  readonly transaction: BaseTransaction
  readonly outstanding: number
  readonly serverState: ServerState
  readonly loss: Loss | null
  /** What it speaks on; null where that is another's, or not there at the moment. */
  readonly backend: Backend | null
  readonly commitment: Commitment | null
  /** Since when the server has been busy with it, on the clock of `now()`; null where nobody was before it. */
  readonly speaksSince: number | null
  mayRetry(): boolean
  lossError(loss: Loss): ConnectionLostError
  /** Gives up what runs, where there is no backend to be dropped. */
  lose(cause: Error): void
  quiet(): Promise<void>
  takeUnfinished(): string[]
  control(text: string, kind: keyof ControlLimits, ends: boolean, internal: boolean): Promise<unknown>
  /** Sends COMMIT or ROLLBACK; null where nothing is open. */
  end(text: 'COMMIT' | 'ROLLBACK'): Promise<EndAnswer> | null
}

/** What a lease needs of the broker that granted it, to be settled. */
export interface BaseOwner {
  readonly options: Pick<ResolvedOptions, 'releaseGraceMillis' | 'closeOn'>
  readonly life: {
    /** The backend is to be replaced before anyone else gets it. */
    readonly replacementDue: boolean
    /** Closes the connection behind the lease. Resolves once it is closed. */
    close(): Promise<void>
  }
  /** The lease is over: the next in line is served. Does nothing for one that was passed on before. */
  passOn(lease: BaseLease): void
  onRollback(event: RollbackEvent): void
}

export abstract class BaseLease<R extends BaseRequests = BaseRequests, O extends BaseOwner = BaseOwner> {
  abstract readonly terms: LeaseTerms
  /** What its holder is called; null where it has not said. */
  abstract readonly label: string | null
  /** Where it was asked for; null where nobody wants to know. */
  abstract readonly stack: string | null
  abstract readonly owner: O
  abstract readonly requests: R
  /** When it was granted, on the clock of `now()`. */
  readonly grantedAt = now()
  nested = 0
  onRevoked: ((error: Error) => void) | null = null
  onOver: (() => void) | null = null
  revocation: Error | null = null
  /** The library has sent the COMMIT that ends it. */
  commitSent = false
  state: State = 'held'
  /** Its settlement, once its holder has left. */
  #departure: Promise<void> | null = null

  abstract refusal(forEnding?: boolean): Error | null

  get held(): boolean {
    return this.state === 'held'
  }

  get owned(): boolean {
    return this.requests.transaction.owned
  }

  get autocommit(): boolean {
    return this.requests.transaction.autocommit
  }

  set autocommit(autocommit: boolean) {
    this.requests.transaction.autocommit = autocommit
  }

  get idle(): boolean {
    return !this.requests.transaction.open && this.requests.outstanding === 0
  }

  get status(): TransactionStatus {
    const { serverState, outstanding } = this.requests
    if (!this.held || serverState === 'lost') return 'unknown'
    return outstanding > 0 ? 'active' : serverState
  }

  get retrySafe(): boolean {
    return this.requests.mayRetry()
  }

  async commit(): Promise<void> {
    const answered = this.requests.end('COMMIT')
    if (answered !== null) this.checkCommitted(await answered.catch(withCallersFrames))
  }

  /** Throws where COMMIT was answered ROLLBACK. */
  checkCommitted({ tag, failedBefore }: EndAnswer): void {
    // Nothing was sent where an earlier statement of the holder's had ended the transaction.
    if (tag === 'COMMIT' || tag === null) return
    throw new CommitRolledBackError({ retrySafe: this.retrySafe, cause: failedBefore ?? undefined })
  }

  async rollback(): Promise<void> {
    await this.requests.end('ROLLBACK')?.catch(withCallersFrames)
  }

  nest(): Promise<NestedTransaction> {
    return openNested(this)
  }

  release(leaving: Leaving): Promise<void> {
    // A callback may have released its handle before it returned: that was the departure.
    return (this.#departure ??= release(this, leaving))
  }

  become(next: State): void {
    this.state = become('a lease', NEXT, this.state, next)
  }
}
