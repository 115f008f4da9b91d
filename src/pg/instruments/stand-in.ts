/**
 * Stands in for pg's client where something has replaced its `query()`: it has what instruments read of a client,
 * never a password, and a queue from which nothing is sent.
 */
import pg from '../pg.js'
import type { ConnectionFacts } from '../../api/manager.js'

/** A query of pg's, as it comes to lie in the queue. */
export interface CapturedQuery {
  readonly text?: unknown
  readonly types?: unknown
  readonly callback?: ((error: unknown, result?: unknown) => void) | null
  emit?(event: string, ...args: unknown[]): unknown
}

type PgQuery = (this: object, ...given: unknown[]) => unknown

/** Makes one whose queue is `queue`; `onQueued` is called when something was put there. */
export function createStandIn(facts: ConnectionFacts, queue: CapturedQuery[], onQueued: () => void): object {
  const { host, port, user, database, processID } = facts
  const members = {
    ...{ host, port, user, database, processID },
    connectionParameters: { host, port, user, database },
    _Promise: Promise,
    _types: pg.types,
    _queryQueue: queue,
    // On the prototype these two are getters that warn.
    queryQueue: queue,
    activeQuery: null,
    _activeQuery: null,
    _sentQueryQueue: [],
    _connected: true,
    _queryable: true,
    _ending: false,
    // Several may lie in the queue.
    pipeline: true,
    _pulseQueryQueue: onQueued,
  }
  const standIn = Object.create(pg.Client.prototype, Object.getOwnPropertyDescriptors(members)) as object
  return withOldQuery(standIn, queue)
}

/**
 * A patch that keeps pg's function as `__query` (AWS X-Ray's) looks at what that returns, which with a callback is
 * the query in its pg, and nothing in ours.
 */
function withOldQuery(standIn: object, queue: readonly CapturedQuery[]): object {
  const { __query: original } = standIn as { __query?: PgQuery }
  if (typeof original !== 'function') return standIn
  const value = function (this: object, ...given: unknown[]): unknown {
    return original.apply(this, given) ?? queue.at(-1)
  }
  return Object.defineProperty(standIn, '__query', { value })
}
