/** What the transactions of one broker commit with: shared flushes, and answers to what became of a lost COMMIT. */
import { now } from '../util/clock.js'
import { CommitChecks } from './checks.js'
import { Flushes } from './flushes.js'
import { Verifications } from './verifications.js'
import type { EventSink } from '../api/ports.js'
import type { ResolvedOptions } from '../options.js'
import type { Evidence, Verdict } from './evidence.js'

export class Commits {
  readonly flushes: Flushes
  readonly checks: CommitChecks
  readonly verifications: Verifications
  readonly counters = { groupCommits: 0, verifiedCommitted: 0, verifiedNone: 0, verifiedUnknown: 0 }
  readonly #events: EventSink
  /** How many COMMITs were sent and are not certain. */
  #uncertain = 0
  readonly #onCertain: () => void

  /** @param onCertain is told when no COMMIT is uncertain any more */
  constructor(
    options: ResolvedOptions,
    events: EventSink,
    open: () => Promise<unknown>,
    onCertain: () => void,
  ) {
    this.flushes = new Flushes(options.statementTimeoutMillis)
    this.checks = new CommitChecks(options)
    this.verifications = new Verifications(open, options.reconnectTimeoutMillis)
    this.#events = events
    this.#onCertain = onCertain
  }

  /** A COMMIT is being sent, and what becomes of it may have to be found out. To be called back once it is certain. */
  expect(): () => void {
    this.#uncertain++
    return () => {
      this.#uncertain--
      if (this.#uncertain === 0) this.#onCertain()
    }
  }

  /** A COMMIT may still have to be asked for, so the connection is needed. */
  get uncertain(): boolean {
    return this.#uncertain > 0
  }

  /** Finds out what became of a COMMIT that was not answered, and tells that. Never rejects. */
  async verify(evidence: Evidence): Promise<Verdict> {
    const startedAt = now()
    const verdict = await this.verifications.verify(evidence)
    const { outcome } = verdict
    if (outcome === 'committed') this.counters.verifiedCommitted++
    else if (outcome === 'none') this.counters.verifiedNone++
    else this.counters.verifiedUnknown++
    this.#events.tell('commitVerified', { outcome, millis: now() - startedAt })
    return verdict
  }
}
