/**
 * One process at a time leads: the others stand by, and one of them follows when it dies, is cut off or has done.
 *
 * @module pg-managed-connection/leader
 */
import { ManagerEndedError, ReentrantAcquireError } from '../errors.js'
import { checkOptions, checkWork } from '../face/call-options.js'
import { brokerOf, rootOf } from '../face/manager-face.js'
import { enclosingScope } from '../lease/holder-context.js'
import { onAbort } from '../util/abort-listeners.js'
import { reasonOf, throwIfAborted } from '../util/abort-signals.js'
import { memberOf } from '../util/thrown.js'
import { LeadershipLostError } from './error.js'
import type { Leadership } from '../api/ports.js'
import type { Manager } from '../index.js'
import type { Failure } from '../util/failure.js'

export { LeadershipLostError } from './error.js'

/** Options of `lead`. */
export interface LeadOptions {
  /** Ends it: who stands by gives up at once, and a leader once its work has settled. */
  readonly signal?: AbortSignal | undefined
  /** How long one who stands by waits before it asks for the lock again. From 1. Default: 1,000. */
  readonly retryMillis?: number | undefined
}

/** What a leader's work is given. */
export interface Leader {
  /** Aborts at the moment that leadership is lost or not certain any more, or that nobody wants it any more. */
  readonly signal: AbortSignal
  /** Greater than that of every leader before: let what is written say so, and refuse what is older. */
  readonly epoch: bigint
}

const RETRY_MILLIS = 1_000

/**
 * Waits until no other process leads `name`, and runs `work` while this one does. Resolves when `work` has returned, and
 * rejects with what it throws. Where leadership is lost, `signal` aborts; when `work` has settled then, it is stood for
 * again.
 *
 * ```ts
 * import { setTimeout as sleep } from 'node:timers/promises'
 * import { lead } from 'pg-managed-connection/leader'
 *
 * await lead(manager, 'nightly report', async ({ signal, epoch }) => {
 *   while (!signal.aborted) {
 *     await manager.query('UPDATE reports SET run = run + 1, epoch = $1 WHERE epoch <= $1', [epoch])
 *     await sleep(60_000, undefined, { signal })
 *   }
 * })
 * ```
 *
 * @throws TypeError or RangeError for what it cannot take; `ReentrantAcquireError` inside of a callback that holds the
 * connection; `UnsupportedServerError` behind a pooler, on a standby, and before PostgreSQL 13; `ConnectError` where
 * there is no server yet; `ManagerEndedError`; the reason of the signal
 */
export async function lead(
  manager: Manager,
  name: string,
  work: (leader: Leader) => unknown,
  options: LeadOptions = {},
): Promise<void> {
  const broker = brokerOf(manager)
  if (broker === undefined) throw new TypeError('lead() takes a manager of this library')
  if (typeof name !== 'string' || name === '' || name.includes('\0')) {
    throw new TypeError(
      'lead() takes a name, which is a string that is not empty and without the character NUL',
    )
  }
  checkWork('lead', work)
  checkOptions('lead', options)
  const { signal, retryMillis = RETRY_MILLIS } = options
  const scope = enclosingScope(rootOf(manager))
  if (scope !== undefined)
    throw new ReentrantAcquireError({ member: 'lead', inside: scope.kind, detachable: false })
  for (;;) {
    const leadership = await broker.lead(name, retryMillis, signal)
    if (await leadOnce(name, leadership, work, signal)) return
  }
}

/** Runs `work` while it leads. False where it is to be stood for again. */
async function leadOnce(
  name: string,
  leadership: Leadership,
  work: (leader: Leader) => unknown,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const ended = new AbortController()
  const stops = [
    listen(leadership.signal, () => ended.abort(reasonOfLoss(name, leadership.signal))),
    signal && listen(signal, () => ended.abort(reasonOf(signal))),
  ]
  const failure = ended.signal.aborted
    ? null
    : await run(work, { signal: ended.signal, epoch: leadership.epoch })
  for (const stop of stops) stop?.()
  await leadership.stepDown()
  if (failure !== null && !tellsOf(ended.signal, failure.reason)) throw failure.reason
  if (!ended.signal.aborted) return true
  throwIfAborted(signal)
  if (ended.signal.reason instanceof ManagerEndedError) throw ended.signal.reason
  return false
}

async function run(work: (leader: Leader) => unknown, leader: Leader): Promise<Failure | null> {
  try {
    await work(leader)
    return null
  } catch (reason) {
    return { reason }
  }
}

/** Calls `callback` when `signal` aborts, or at once where it has. Gives the function that undoes it. */
function listen(signal: AbortSignal, callback: () => void): () => void {
  if (!signal.aborted) return onAbort(signal, callback)
  callback()
  return () => {}
}

function reasonOfLoss(name: string, { reason }: AbortSignal): Error {
  return reason instanceof ManagerEndedError ? reason : new LeadershipLostError(name, reason as Error)
}

/** It is what the signal makes everything throw that listens to it: its reason, or an AbortError of Node's. */
function tellsOf(signal: AbortSignal, thrown: unknown): boolean {
  if (!signal.aborted) return false
  return (
    thrown === signal.reason ||
    (memberOf(thrown, 'name') === 'AbortError' && memberOf(thrown, 'cause') === signal.reason)
  )
}
