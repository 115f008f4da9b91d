/**
 * Whether the server session is one's own: behind a pooler that changes it, notifications would go to others, and locks
 * would stay with others.
 */
import { UnsupportedServerError } from '../errors.js'
import { QueryRequest } from '../pipeline/query-request.js'
import { TRAITS } from '../pipeline/request.js'
import { ownStatement } from '../pipeline/statement-part.js'
import type { QueryResult } from 'pg'
import type { Wait } from '../api/ports.js'
import type { Backend } from '../backend/backend.js'
import type { ResolvedOptions } from '../options.js'
import type { SessionOwner } from './session-owner.js'

const SESSION_TEXT = 'SELECT pg_catalog.pg_backend_pid() AS "processID"'

/** It goes behind the LISTEN, and is the library's own wish. */
const UNBOUNDED: Wait = { timeoutMillis: Infinity, unbounded: true }

export class DirectSession {
  readonly #host: SessionOwner
  readonly #options: ResolvedOptions
  readonly #call: string
  /** Backends that were looked at. */
  readonly #direct = new WeakSet<Backend>()

  /** @param call what needs it, as messages name it */
  constructor(host: SessionOwner, options: ResolvedOptions, call: string) {
    this.#host = host
    this.#options = options
    this.#call = call
  }

  /** Nothing is asked where the option says it. @throws UnsupportedServerError */
  refuse(): void {
    if (this.#options.pooler === 'transaction') throw this.#pooledError()
  }

  /** The process of the login is not the one that answers where a pooler is between. @throws UnsupportedServerError */
  async check(wait: Wait): Promise<void> {
    const { pooler, statementTimeoutMillis: limitMillis } = this.#options
    if (pooler === 'none' || pooler === 'session') return
    const known = this.#host.backend
    if (known !== null && this.#direct.has(known)) return
    const traits = { ...TRAITS, pipelining: 'exclusive', limitMillis } as const
    const { rows } = await this.#host.sendInLine<QueryResult<{ processID: number }>>(
      (owner) => new QueryRequest(owner, ownStatement(SESSION_TEXT), traits),
      { ...UNBOUNDED, signal: wait.signal },
    )
    const { backend } = this.#host
    // It may have been lost meanwhile.
    if (backend === null) return
    if (rows[0]!.processID !== backend.processID) throw this.#pooledError()
    this.#direct.add(backend)
  }

  #pooledError(): UnsupportedServerError {
    return new UnsupportedServerError(
      `${this.#call} needs the same server session all the time, and a pooler is between; where it keeps a server ` +
        "connection for as long as its client is connected, say pooler: 'session', else use a manager that goes past it",
    )
  }
}
