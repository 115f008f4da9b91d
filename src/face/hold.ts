/** Runs a caller's work with a lease, and settles the lease, whatever happens. */
import { ConnectionReleasedError } from '../errors.js'
import { runCallback } from '../lease/holder-context.js'
import { onAbort } from '../util/abort-listeners.js'
import { errorForReason, reasonBehind, reasonOf } from '../util/abort-signals.js'
import { createHolder, type HandleContext, type Holder } from './held-connection.js'
import { markNestedHandled } from './nesting.js'
import type { Connection } from '../api/connection.js'
import type { Lease, Leaving } from '../api/ports.js'

/** What runs with the connection. */
export type Work<T> = (connection: Connection) => T | PromiseLike<T>

/** How a turn goes. */
export interface HoldTerms {
  readonly context: HandleContext
  /** The server connection is closed after it. */
  readonly close: boolean
  /** Ends it. */
  readonly signal: AbortSignal | undefined
  /** It may be revoked for another reason. */
  readonly revokes: boolean
}

/** Gives what `work` returns. Throws what the settlement table, or the signal, gives the caller in its place. */
export async function hold<T>(lease: Lease, work: Work<T>, terms: HoldTerms): Promise<T> {
  const { context, close, signal } = terms
  const stopWatch = signal === undefined ? null : watchSignal(lease, signal)
  const revocable = terms.revokes || signal !== undefined
  const until = <R>(promise: Promise<R>): Promise<R> => (revocable ? untilRevoked(lease, promise) : promise)
  try {
    // In a worker it may be granted and revoked in one message.
    if (lease.revocation !== null) throw lease.revocation
    const holder = createHolder(lease, context)
    const result = await until(runCallback(context.manager, () => work(holder.handle))).catch(
      async (error: unknown) => {
        if (lease.revocation === null) await leave(holder, { left: 'threw', error, close }).catch(() => {})
        else markNestedHandled(holder.use)
        throw error
      },
    )
    await until(leave(holder, { left: 'returned', close }))
    return result
  } catch (error) {
    throw lease.revocation === null ? error : reasonBehind(lease.revocation)
  } finally {
    stopWatch?.()
  }
}

/** Settles the lease of a holder whose work is done. */
function leave({ use }: Holder, leaving: Leaving): Promise<void> {
  markNestedHandled(use)
  return use.lease.release(leaving)
}

/** What goes on after its lease was revoked is ignored, and so is its failure. */
function untilRevoked<T>(lease: Lease, going: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    lease.onRevoked = reject
    going.then(resolve, reject)
  })
}

/** Ends the turn when the signal aborts. Gives what keeps it from that. */
function watchSignal(lease: Lease, signal: AbortSignal): () => void {
  const abort = (): void =>
    lease.abort(errorForReason(reasonOf(signal), () => new ConnectionReleasedError('connection')))
  if (!signal.aborted) return onAbort(signal, abort)
  // In the very moment between the grant and this one.
  abort()
  return () => {}
}
