/** Queries of the pool that have a client of their own, and give it back. */
import { UncommittedTransactionError } from '../errors.js'
import { textOf, type SubmittableLike } from './calls.js'
import type { PooledClient } from './pooled-client.js'

/** Asks one query, which has the same outcome as one that travels without a client. */
export async function queryOnce(client: PooledClient, config: unknown, values: unknown): Promise<unknown> {
  try {
    const result = await client.query(config, values)
    if (client.getTransactionStatus() !== 'T') return result
    throw new UncommittedTransactionError({ statement: textOf(config), retrySafe: false })
  } finally {
    await rollBack(client)
    client.release()
  }
}

async function rollBack(client: PooledClient): Promise<void> {
  const status = client.getTransactionStatus()
  if (status !== 'T' && status !== 'E') return
  try {
    await client.query('ROLLBACK')
  } catch {
    // The connection is lost then, and the transaction with it.
  }
}

/** The submittable speaks until it is over; what is asked behind it is answered then. Never rejects. */
export async function submit(
  connected: Promise<PooledClient>,
  submittable: SubmittableLike,
  values: unknown,
  callback: unknown,
): Promise<void> {
  let client: PooledClient
  try {
    client = await connected
  } catch (error) {
    submittable.handleError(error as Error, null)
    return
  }
  try {
    // A stream that was destroyed while it waited would be read by nobody.
    if (submittable.destroyed !== true) {
      client.query(submittable, values, callback)
      await client.settled()
    }
  } catch {
    // The submittable has been told.
  } finally {
    client.release()
  }
}
