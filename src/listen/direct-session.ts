/** Whether the server session is one's own: behind a pooler that changes it, notifications would go to others. */
import { UnsupportedServerError } from '../errors.js'
import { QueryRequest } from '../pipeline/query-request.js'
import { TRAITS } from '../pipeline/request.js'
import { ownStatement } from '../pipeline/statement-part.js'
import type { QueryResult } from 'pg'
import type { Wait } from '../api/ports.js'
import type { Backend } from '../backend/backend.js'
import type { ResolvedOptions } from '../options.js'
import type { SubscriptionOwner } from './subscriptions.js'

const SESSION_TEXT = 'SELECT pg_catalog.pg_backend_pid() AS "processID"'

/** It goes behind the LISTEN, and is the library's own wish. */
const UNBOUNDED: Wait = { timeoutMillis: Infinity, unbounded: true }

export class DirectSession {
  readonly #host: SubscriptionOwner
  readonly #options: ResolvedOptions
  /** Backends that were looked at. */
  readonly #direct = new WeakSet<Backend>()

  constructor(host: SubscriptionOwner, options: ResolvedOptions) {
    this.#host = host
    this.#options = options
  }

  /** Nothing is asked where the option says it. @throws UnsupportedServerError */
  refuse(): void {
    if (this.#options.pooler === 'transaction') throw pooledError()
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
    if (rows[0]!.processID !== backend.processID) throw pooledError()
    this.#direct.add(backend)
  }
}

function pooledError(): UnsupportedServerError {
  return new UnsupportedServerError(
    'listen() needs the same server session all the time, and a pooler is between; where it keeps a server connection ' +
      "for as long as its client is connected, say pooler: 'session', else listen by a manager that goes past it",
  )
}
