/**
 * Hands queries to pg in one place. Not by `client.query()`: anything may have patched that (tracing does) and may
 * pass on a copy, which pg would run as a query of its own, outside of any transaction. This is the end of pg's own
 * `query()`: the queue of the client, and the method that empties it.
 */
import pg from 'pg'
import type { Client, QueryResult, QueryResultRow } from 'pg'
import type { DriverClient, QueuedQuery } from './driver.js'

/** Gives pg a query that can be sent now; false where pg has not taken that very object. */
export function enqueue(client: DriverClient, query: QueuedQuery): boolean {
  push(client, query)
  return client._activeQuery === query || client._sentQueryQueue.at(-1) === query
}

/** Asks the server something for the library itself, on a connection that is nobody else's yet. */
export function ask<R extends QueryResultRow>(
  client: Client,
  text: string,
  values?: unknown[],
): Promise<QueryResult<R>> {
  return new Promise((resolve, reject) => {
    const query = new pg.Query<R>({ text, values: values ?? [] }, (error: Error | undefined, result) =>
      error ? reject(error) : resolve(result),
    )
    const driver = client as unknown as DriverClient
    // pg would keep it for ever.
    if (!driver._queryable) reject(new Error('the connection is lost'))
    else push(driver, query as unknown as QueuedQuery)
  })
}

function push(client: DriverClient, query: QueuedQuery): void {
  // Where a query brings no parsers of its own, it has the client's.
  if (query._result && !query._result._types) query._result._types = client._types
  client._queryQueue.push(query)
  client._pulseQueryQueue()
}
