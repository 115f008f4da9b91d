/** Asks the server for the locks by which names are led, and gives them back, in turn with everybody else. */
import { AbandonedOpeningError } from '../backend/backend-keeper.js'
import { BEGAN_THEN, TERMINATE } from '../commit/server-identity.js'
import { ConnectError, ConnectionLostError, UnsupportedServerError } from '../errors.js'
import { DirectSession } from '../listen/direct-session.js'
import { QueryRequest } from '../pipeline/query-request.js'
import { TRAITS } from '../pipeline/request.js'
import { ownStatement } from '../pipeline/statement-part.js'
import { isFromServer, memberOf } from '../util/thrown.js'
import { TRY_TEXT, UNLOCK_TEXT, type TryRow } from './lock.js'
import type { QueryResult } from 'pg'
import type { Wait } from '../api/ports.js'
import type { Backend } from '../backend/backend.js'
import type { SessionOwner } from '../listen/session-owner.js'
import type { ResolvedOptions } from '../options.js'

/** A lock, and whose it is. */
export interface Held {
  readonly backend: Backend
  readonly row: TryRow
}

const UNBOUNDED: Wait = { timeoutMillis: Infinity, unbounded: true }

/** What may be over soon: lost connections, too little of something, an operator, a conflict. */
const PASSING = /^(?:08|53|57|40)/

/** undefined_function */
const UNDEFINED_FUNCTION = '42883'

export class Locks {
  readonly #host: SessionOwner
  readonly #options: ResolvedOptions
  readonly #session: DirectSession
  /** There has been a connection: from then on the server's absence is ridden out. */
  #hasConnected = false
  /** The last answer to a try; null before the first. */
  #answered: Held | null = null
  /** Aborted when the session has gone, and with it its locks. */
  #present = new AbortController()
  /** Lost sessions that may have a lock: where only the way to them was cut, the server still has them. */
  #ghosts: TryRow[] = []

  constructor(host: SessionOwner, options: ResolvedOptions) {
    this.#host = host
    this.#options = options
    this.#session = new DirectSession(host, options, 'lead()')
  }

  /** @throws UnsupportedServerError where it is known beforehand that there can be no lock */
  refuse(): void {
    this.#session.refuse()
  }

  /** Takes the lock of a name; null where another session has it. */
  async take(name: string, signal: AbortSignal): Promise<Held | null> {
    const wait = { ...UNBOUNDED, signal }
    this.#hasConnected ||= this.#host.backend !== null
    await this.#session.check(wait)
    this.#hasConnected = true
    await this.#endGhosts(wait)
    const held = await this.#ask(name, wait)
    this.#answered = held
    const { won } = held.row
    if (won === null) throw standbyError()
    return won === 'true' ? held : null
  }

  /** What a try has failed with may not be so for ever. */
  mayPass(error: unknown): boolean {
    if (isFromServer(error)) return PASSING.test(String(memberOf(error, 'code')))
    if (error instanceof ConnectionLostError || error instanceof AbandonedOpeningError) return true
    return this.#hasConnected && error instanceof ConnectError
  }

  async #ask(name: string, wait: Wait): Promise<Held> {
    let backend: Backend | null = null
    try {
      const { rows } = await this.#send<TryRow>(TRY_TEXT, [name], wait, () => (backend = this.#host.backend))
      return { backend: backend!, row: rows[0]! }
    } catch (error) {
      if (memberOf(error, 'code') === UNDEFINED_FUNCTION) throw oldServerError(error)
      // It may have failed behind the lock.
      if (isFromServer(error)) await this.giveBack(name, backend!)
      throw error
    }
  }

  /** Sent with nothing else in flight, so that nothing is answered between a lock and the word that it is ours. */
  #send<R extends object>(
    text: string,
    values: readonly string[],
    wait: Wait,
    onSent?: () => void,
  ): Promise<QueryResult<R>> {
    const limitMillis = this.#options.statementTimeoutMillis
    const traits = { ...TRAITS, pipelining: 'exclusive', repeatable: false, limitMillis } as const
    return this.#host.sendInLine((owner) => {
      onSent?.()
      return new QueryRequest(owner, ownStatement(text, { values }), traits)
    }, wait)
  }

  /** Never rejects: what fails to be given back goes with its session. */
  async giveBack(name: string, backend: Backend): Promise<void> {
    if (backend.lost !== null) return
    try {
      await this.#send(UNLOCK_TEXT, [name], { ...UNBOUNDED, signal: this.#present.signal })
    } catch (error) {
      if (isFromServer(error))
        backend.lose(new Error(`a lock could not be given back: ${error.message}`, { cause: error }))
    }
  }

  /** The session was closed, or lost for this reason. */
  onSessionGone(lost: Error | undefined): void {
    this.#present.abort()
    this.#present = new AbortController()
    if (lost !== undefined && this.#answered?.backend.lost === lost) this.#ghosts.push(this.#answered.row)
  }

  /** Sessions that were lost are ended, or nobody could lead before the server notices that we have gone. */
  async #endGhosts(wait: Wait): Promise<void> {
    for (const ghost of this.#ghosts) {
      const { processID, startedAt } = ghost
      try {
        await this.#send(`${TERMINATE} ${BEGAN_THEN}`, [processID, startedAt ?? ''], wait)
      } catch (error) {
        // Another role's session, say: then the server has to notice by itself.
        if (!isFromServer(error)) throw error
      }
      this.#ghosts = this.#ghosts.filter((other) => other !== ghost)
    }
  }
}

function standbyError(): UnsupportedServerError {
  return new UnsupportedServerError(
    'lead() needs the primary, because the locks of a standby are its own: say target_session_attrs=primary',
  )
}

function oldServerError(cause: unknown): UnsupportedServerError {
  return new UnsupportedServerError('lead() needs pg_current_xact_id() (PostgreSQL 13)', { cause })
}
