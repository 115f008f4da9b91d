import { enqueue } from './patches.js'
import { pg } from './pg.js'
import type { Client, QueryResult, QueryResultRow } from 'pg'
import type { DriverClient, QueuedQuery } from './driver.js'

/** Asks the server something for the library itself, on a connection that is nobody else's yet. */
export function ask<R extends QueryResultRow>(
  client: Client,
  text: string,
  values: unknown[] = [],
): Promise<QueryResult<R>> {
  return new Promise((resolve, reject) => {
    const query = new pg.Query<R>({ text, values }, (error: Error | undefined, result) =>
      error ? reject(error) : resolve(result),
    )
    const driver = client as unknown as DriverClient
    // pg would keep it for ever.
    if (!driver._queryable) reject(new Error('the connection is lost'))
    else enqueue(driver, query as unknown as QueuedQuery)
  })
}
