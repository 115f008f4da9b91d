/** Statements and batches that need a lease of their own: a COMMIT that waits together with others, or a BEGIN. */
import { StatementTimeoutError } from '../errors.js'
import { BatchRequest } from '../pipeline/batch-request.js'
import { guardRequest } from '../pipeline/statement-guard.js'
import { commit } from './release.js'
import type { QueryResult } from 'pg'
import type { StatementCall, StatementLimits } from '../api/statement.js'
import type { Lease } from './lease.js'

/**
 * Runs the statements and commits.
 *
 * @param limits of the whole
 * @throws the error of the statement that failed, with its `index`; what a COMMIT throws
 */
export async function runBatch(
  lease: Lease,
  calls: readonly StatementCall[],
  limits: StatementLimits,
): Promise<QueryResult[]> {
  const { requests, terms, owner } = lease
  const statements = calls.map(({ statement }) => statement)
  const exclusive = calls.some(({ text }) => text.kind !== 'plain')
  const isReady = requests.commitment!.obstacle(requests.backend!) === null
  const request = new BatchRequest(requests, statements, { begin: null, settings: null }, exclusive)
  const answered = request.promise<QueryResult[]>()
  request.markHandled()
  guardRequest(request, limits, owner.deadlines)
  requests.issue(request)
  lease.onRevoked = (error) => request.reject(error)
  // COMMIT goes out behind it at once, unless its results have to be there before, or the server to be asked first.
  if (terms.commitment!.verify !== false || !isReady) await answered.catch(() => {})
  try {
    if (lease.held) await leave(lease)
  } catch (error) {
    // What has failed in it tells more than the COMMIT that was rolled back.
    await answered.catch((reason: unknown) => {
      throw withIndex(request, reason)
    })
    throw error
  }
  return answered.catch((reason: unknown) => {
    throw withIndex(request, reason)
  })
}

/** Runs one statement as a transaction, and commits. */
export async function runAlone(lease: Lease, call: StatementCall): Promise<QueryResult> {
  let result: QueryResult
  try {
    call.onSent?.()
    result = await lease.query(call, null)
  } catch (error) {
    await lease.release({ left: 'threw', error, close: false }).catch(() => {})
    throw lease.revocation ?? error
  }
  await lease.release({ left: 'returned', close: false })
  return result
}

async function leave(lease: Lease): Promise<void> {
  lease.become('leaving')
  try {
    await commit(lease, false)
  } finally {
    if (lease.state !== 'over' && lease.revocation === null) lease.owner.passOn(lease)
  }
}

/** The error of a batch says which of its statements failed; the reason of an abort is the program's own. */
export function withIndex(request: BatchRequest, error: unknown): unknown {
  if (request.failedIndex === null) return error
  const isOurs = error === request.error || error instanceof StatementTimeoutError
  return isOurs ? Object.assign(error as Error, { index: request.failedIndex }) : error
}
