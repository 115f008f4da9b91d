/**
 * Makes durable what grouped transactions have committed, many at a time: each has committed without waiting for the
 * disk, and is over once a flush that was sent behind its COMMIT has been answered.
 *
 * A flush is a transaction of its own that writes one small record into the log: what was committed before it is as
 * durable as the session's `synchronous_commit` promises, once it is answered (manual, "Asynchronous Commit" and
 * "System Administration Functions"). Everybody may call it, in sessions that are read only by default, too.
 */
import { ConnectionLostError } from '../errors.js'
import { ControlRequest } from '../pipeline/control-request.js'
import { TRAITS, type Request } from '../pipeline/request.js'
import { SEND_COMMITTING, type RequestOwner } from '../pipeline/request-owner.js'
import { now } from '../util/clock.js'
import { Deferred } from '../util/deferred.js'
import { timerFor, type Timer } from '../util/timer.js'
import { memberOf } from '../util/thrown.js'
import { Announcer } from './announcer.js'
import type { Backend } from '../backend/backend.js'
import type { ReadyStatus } from '../api/statement.js'

/**
 * Its transaction must not be spared the warning that a wait for a standby has ended too early, whatever the session has
 * set: see `onNotice`.
 */
const FLUSH_TEXT = `
  SELECT pg_catalog.set_config('client_min_messages', 'warning', true),
    pg_catalog.pg_logical_emit_message(true, 'pg-managed-connection', '')`

/** Whether it is there and may be called is looked at although it is never called. */
export const FLUSH_CHECK_TEXT = `
  SELECT CASE WHEN pg_catalog.pg_is_in_recovery() IS NULL THEN
    pg_catalog.pg_logical_emit_message(true, 'pg-managed-connection', '')
  END`

/** Begins each grouped transaction: its COMMIT does not wait for the disk. */
export const GROUPED: readonly string[] = ['SET LOCAL synchronous_commit TO off']

/**
 * COMMITs do not wait for the end of a line that has none: a flush is sent after so many milliseconds, or so many times
 * as long as the last one took, where that is longer. So flushes take a tenth of the time at most.
 */
const LONGEST_WAIT_MILLIS = 20
const LONGEST_WAIT_FLUSHES = 10

/** query_canceled */
const CANCELLED = '57014'

/** Class 01, "warning", and class 57, "operator intervention": the words for people may be translated. */
const WARNING = /^(?:01|57)/

/** COMMITs that one flush makes durable. */
class Group {
  /** When the first of them joined, and then when its flush was sent. */
  since = now()
  /** Comes when its flush is late. */
  timer: Timer | undefined
  /** In the order of their COMMITs. */
  readonly members: Deferred[] = []

  /** Resolves once the COMMIT of a new member is durable. */
  join(): Promise<void> {
    const member = new Deferred()
    this.members.push(member)
    return member.promise
  }

  /** Takes over the members of a group that failed. */
  adopt({ members }: Group): void {
    for (const member of members) this.members.push(member)
  }

  reject(error: Error): void {
    for (const member of this.members) member.reject(error)
  }
}

/** Who is served next, as far as flushes go. */
export type Next = 'nobody' | 'grouped' | 'other'

export class Flushes implements RequestOwner {
  /** How many have been answered. */
  count = 0
  readonly #statementMillis: number
  /** What the next flush makes durable; null where no COMMIT waits for one. */
  #waiting: Group | null = null
  readonly #sent = new Map<Request, Group>()
  readonly #announcer = new Announcer()
  /** The last one was sent on it. */
  #backend: Backend | null = null
  /** How long the last one took, in milliseconds. */
  #lastMillis = 0
  /** The server has warned of something while it flushed: what it promised is not certain. */
  #doubted = false

  readonly #onLate: () => void

  /**
   * @param statementMillis how long the server may take for one; 0 = for ever
   * @param onLate is told when COMMITs have waited for a flush for long
   */
  constructor(statementMillis: number, onLate: () => void) {
    this.#statementMillis = statementMillis
    this.#onLate = onLate
  }

  /** A grouped COMMIT has been sent. Resolves once it is durable. */
  join(): Promise<void> {
    this.#waiting ??= this.#begin()
    return this.#waiting.join()
  }

  #begin(): Group {
    const group = new Group()
    group.timer = timerFor(this.#longestWait, this.#onLate)
    return group
  }

  /** Sends a flush where one is due: when nobody is next, or somebody who does not take part. */
  sendIfDue(backend: Backend | null, next: Next): void {
    const group = this.#waiting
    if (group === null || backend === null) return
    if (next === 'grouped' && now() - group.since < this.#longestWait) return
    // One at a time: the next makes durable all that was committed meanwhile.
    if (next !== 'other' && this.#sent.size > 0) return
    this.#waiting = null
    group.timer?.stop()
    this.#backend = backend
    group.since = now()
    const traits = { ...TRAITS, endsTransaction: true, limitMillis: this.#statementMillis }
    const request = new ControlRequest(this, FLUSH_TEXT, traits, true)
    this.#sent.set(request, group)
    backend.pipeline.submit(request)
  }

  get #longestWait(): number {
    return Math.max(LONGEST_WAIT_MILLIS, LONGEST_WAIT_FLUSHES * this.#lastMillis)
  }

  /** The backend is gone, and with it the flush that would have come. */
  onBackendLost(cause: Error): void {
    this.#rejectWaiting(lostError(cause))
  }

  /** There is no backend, and none could be opened. */
  onOpenFailed(error: Error): void {
    this.#rejectWaiting(error)
  }

  #rejectWaiting(error: Error): void {
    this.#waiting?.timer?.stop()
    this.#waiting?.reject(error)
    this.#waiting = null
  }

  /**
   * A notice has come. A wait for a standby that somebody cancelled ends with one, and then the record is on this
   * server alone.
   */
  onNotice(head: Request | null, { code = '' }: { code?: string | undefined }): void {
    if (head !== null && this.#sent.has(head) && WARNING.test(code)) this.#doubted = true
  }

  admit(): typeof SEND_COMMITTING {
    return SEND_COMMITTING
  }

  onAnswered(request: Request, status: ReadyStatus): void {
    const group = this.#take(request)
    const succeeded = request.error === null && !this.#doubted && status === 'idle'
    this.#doubted = false
    if (!succeeded) {
      this.#joinAgain(group)
      // What the server refuses once it may refuse for ever: another connection is asked, or nobody can tell.
      if (request.error !== null && memberOf(request.error, 'code') !== CANCELLED) this.#giveUp(request.error)
      return
    }
    this.count++
    this.#lastMillis = now() - group.since
    this.#announcer.announce(group.members)
  }

  /** It goes with the next flush: one that somebody has cancelled, say. */
  #joinAgain(group: Group): void {
    this.#waiting ??= this.#begin()
    this.#waiting.adopt(group)
  }

  #giveUp(error: Error): void {
    this.#backend?.lose(
      new Error(`what was committed could not be made durable: ${error.message}`, { cause: error }),
    )
  }

  onWithdrawn(request: Request): void {
    this.#joinAgain(this.#take(request))
  }

  onLost(request: Request, cause: Error): void {
    this.#take(request).reject(lostError(cause))
  }

  #take(request: Request): Group {
    const group = this.#sent.get(request)!
    this.#sent.delete(request)
    return group
  }

  withdraw(): void {}

  mayRetry(): boolean {
    return false
  }
}

function lostError(cause: Error): ConnectionLostError {
  return new ConnectionLostError({ commitOutcome: 'unknown', cause, retrySafe: false })
}
