/** What the transactions of one broker commit with: shared flushes, and answers to what became of a lost COMMIT. */
import { ConnectionLostError } from '../errors.js'
import { now } from '../util/clock.js'
import { CommitChecks } from './checks.js'
import { notKnown, type Evidence, type Verdict } from './evidence.js'
import { Flushes } from './flushes.js'
import { Verifications } from './verifications.js'
import type { EventSink } from '../api/ports.js'
import type { ResolvedOptions } from '../options.js'

/** What commits need of the broker. */
export interface CommitsOwner {
  /** Opens the connection, or joins the attempt under way. */
  open(): Promise<unknown>
  /** A flush is due, or no COMMIT is uncertain any more. */
  advance(): void
  /** COMMITs have waited for a flush for long. */
  onFlushLate(): void
}

export class Commits {
  readonly flushes: Flushes
  readonly checks: CommitChecks
  readonly verifications: Verifications
  readonly counters = { groupCommits: 0, verifiedCommitted: 0, verifiedNone: 0, verifiedUnknown: 0 }
  /** How long the server may take for what the library asks for a commit, in milliseconds; 0 = for ever. */
  readonly limitMillis: number
  readonly #patienceMillis: number
  readonly #events: EventSink
  readonly #owner: CommitsOwner
  /** How many COMMITs were sent and are not certain. */
  #uncertain = 0

  constructor(options: ResolvedOptions, events: EventSink, owner: CommitsOwner) {
    this.limitMillis = options.statementTimeoutMillis
    this.flushes = new Flushes(this.limitMillis, () => owner.onFlushLate())
    this.checks = new CommitChecks(options)
    this.verifications = new Verifications(() => this.#open())
    this.#patienceMillis = options.reconnectTimeoutMillis
    this.#events = events
    this.#owner = owner
  }

  async #open(): Promise<void> {
    try {
      await this.#owner.open()
    } catch (error) {
      this.flushes.onOpenFailed(error as Error)
      throw error
    }
  }

  /** A COMMIT is being sent, and what becomes of it may have to be found out. To be called back once it is certain. */
  expect(): () => void {
    this.#uncertain++
    return () => {
      this.#uncertain--
      if (this.#uncertain === 0) this.#owner.advance()
    }
  }

  /** A COMMIT may still have to be asked for, so the connection is needed. */
  get uncertain(): boolean {
    return this.#uncertain > 0
  }

  /** Finds out what became of a COMMIT that was not answered. Never rejects. */
  async verify(evidence: Evidence): Promise<Verdict> {
    const deadline = now() + this.#patienceMillis
    for (;;) {
      const verdict = await this.verifications.verify(evidence, deadline)
      if (verdict.outcome !== 'committed') return verdict
      const reason = await this.#flush()
      if (reason === null) return verdict
      // Another crash may have undone it: the next connection is asked again. At once, before there is one.
      if (!(reason instanceof ConnectionLostError) || now() >= deadline) {
        return notKnown(`it was committed, but could not be made durable: ${reason.message}`)
      }
    }
  }

  /** It may be committed on this server, and not yet on the standby that the COMMIT waited for. Null where it is now. */
  async #flush(): Promise<Error | null> {
    const flushed = this.flushes.join()
    this.#owner.advance()
    return flushed.then(
      () => null,
      (error: Error) => error,
    )
  }

  /** Counts what was found out, and tells it. */
  tell({ outcome }: Verdict, millis: number): void {
    if (outcome === 'committed') this.counters.verifiedCommitted++
    else if (outcome === 'none') this.counters.verifiedNone++
    else this.counters.verifiedUnknown++
    this.#events.tell('commitVerified', { outcome, millis })
  }
}
