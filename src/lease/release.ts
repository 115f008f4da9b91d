/**
 * A holder leaves: what is still in flight is waited for, the settlement table is read, the connection is
 * committed, rolled back, kept or dropped, and the turn handed on, whatever goes wrong on the way.
 */
import { CommitRolledBackError, UncommittedTransactionError, UnfinishedStatementError } from '../errors.js'
import { settle } from './settlement.js'
import { isFromServer } from '../util/thrown.js'
import { withCallersFrames } from '../util/callers-frames.js'
import { now } from '../util/clock.js'
import { timerFor } from '../util/timer.js'
import type { RollbackEvent } from '../events.js'
import type { ControlRequest } from '../pipeline/control-request.js'
import type { CallerOutcome, Left } from './settlement.js'
import type { LocalBroker } from '../broker/local-broker.js'
import type { Timer } from '../util/timer.js'
import type { Lease } from './lease.js'

/** How a holder leaves. */
export interface Leaving {
  readonly left: Left
  /** What it threw. */
  readonly error?: unknown
  /** Close the server connection after it. */
  readonly close: boolean
}

/**
 * Settles `turn` and hands it on. Resolves when the caller has its result or its own error; rejects with what the
 * table gives the caller instead.
 */
export function release(broker: LocalBroker, turn: Lease, leaving: Leaving): Promise<void> {
  // A callback may have released its handle before it returned: that was the departure.
  turn.departure ??= settleAndHandOn(broker, turn, leaving)
  return turn.departure
}

async function settleAndHandOn(broker: LocalBroker, turn: Lease, leaving: Leaving): Promise<void> {
  throwIfRevoked(turn)
  try {
    turn.leave()
    const unfinished = unfinishedOf(turn)
    if (turn.outstanding > 0) {
      turn.markUnfinishedHandled()
      await drain(broker, turn)
      // It was taken back meanwhile, and is tidied up by whoever did that.
      throwIfRevoked(turn)
    }
    await settleAs(broker, turn, leaving, unfinished)
  } finally {
    // Whatever goes wrong in between, nobody waits for ever.
    if (turn.revocation === null) broker.rescue(turn)
  }
}

function throwIfRevoked({ revocation }: Lease): void {
  if (revocation !== null) throw revocation
}

function unfinishedOf(turn: Lease): string[] {
  const unfinished = turn.outstanding > 0 ? turn.unfinished() : []
  // The library must not commit half of what a nested transaction would still undo.
  if (turn.options.owned && turn.nested !== null && turn.nested.size > 0) unfinished.push(NESTED)
  turn.markNestedHandled()
  return unfinished
}

/** Reads the table, and does what it says. */
function settleAs(
  broker: LocalBroker,
  turn: Lease,
  leaving: Leaving,
  unfinished: readonly string[],
): Promise<void> {
  const { connection, caller } = settle({
    left: leaving.left,
    server: turn.serverState,
    unfinished: unfinished.length > 0,
    openWhenLost: turn.openWhenLost,
    owner: turn.options.owned ? 'library' : 'holder',
    endedByText: turn.options.owned && turn.endedByText,
  })
  const outcome = callersError(turn, caller, unfinished)
  switch (connection) {
    case 'commit':
      return commit(broker, turn, leaving.close)
    case 'rollback':
      return thenThrow(rollBack(broker, turn, caller, leaving), outcome)
    case 'keep':
    case 'drop':
      return thenThrow(handOn(broker, turn, leaving), outcome)
    default:
      return connection satisfies never
  }
}

async function thenThrow(done: Promise<void>, outcome: Error | null): Promise<void> {
  await done
  if (outcome !== null) throw outcome
}

/** What stands for a nested transaction among the texts of unfinished statements. */
export const NESTED = '(a nested transaction)'

/**
 * Waits until nothing is in flight. Once the server has been busy with it for `releaseGraceMillis` the connection is
 * dropped: a predecessor's COMMIT may take what it takes.
 */
export async function drain(broker: LocalBroker, turn: Lease): Promise<void> {
  const { releaseGraceMillis } = broker.options
  const leftAt = now()
  let timer: Timer | undefined
  const expired = new Promise<'expired'>((resolve) => {
    const look = (): void => {
      const left = releaseGraceMillis - (now() - Math.max(leftAt, turn.speaksSince))
      // Timers may fire a little early.
      if (left <= 1) resolve('expired')
      else timer = timerFor(left, look)
    }
    timer = timerFor(releaseGraceMillis, look)
  })
  const quiet = turn.quiet()
  const outcome = await Promise.race([quiet, expired])
  timer?.stop()
  if (outcome !== 'expired') return
  const cause = new Error(`a statement was still running ${releaseGraceMillis}ms after its holder had left`)
  if (turn.backend === null) turn.giveUp(cause)
  else await turn.backend.abandon(cause)
  await quiet
}

function callersError(turn: Lease, caller: CallerOutcome, statements: readonly string[]): Error | null {
  const { retrySafe, openedBy } = turn
  const cause = turn.swallowed ?? undefined
  switch (caller) {
    case 'result':
    case 'own error':
      return null
    case 'uncommitted':
      return new UncommittedTransactionError({ statement: openedBy, retrySafe, cause })
    case 'unfinished':
      return new UnfinishedStatementError({ statements, retrySafe, cause })
    case 'ended':
      return turn.endedError()
    case 'lost':
      return turn.lossError()
    default:
      return caller satisfies never
  }
}

/**
 * The turn is handed on when COMMIT has been sent: it ends the transaction whatever its answer is. Where the
 * connection may have to be closed behind it, the answer comes first.
 */
async function commit(broker: LocalBroker, turn: Lease, close: boolean): Promise<void> {
  const early = !close && broker.options.closeOn === 'broken' && !broker.replacementDue
  const answered = turn.commit()!
  if (early) broker.passOn(turn)
  let failure: unknown
  let request: ControlRequest | null = null
  try {
    request = await answered
  } catch (error) {
    failure = error
  }
  if (!early)
    await handOn(broker, turn, {
      left: failure === undefined ? 'returned' : 'threw',
      error: failure,
      close,
    })
  if (request === null) return withCallersFrames(failure)
  checkCommitted(request, turn)
}

/** Throws where COMMIT was answered ROLLBACK. */
export function checkCommitted(request: ControlRequest, { retrySafe }: Lease): void {
  if (request.tag === 'COMMIT') return
  throw new CommitRolledBackError({ retrySafe, cause: request.failedBefore ?? undefined })
}

async function rollBack(
  broker: LocalBroker,
  turn: Lease,
  caller: CallerOutcome,
  leaving: Leaving,
): Promise<void> {
  const statement = turn.openedBy
  const answered = turn.rollback()!
  const handedOn = handOn(broker, turn, leaving)
  broker.onRollback({ reason: REASONS[caller], statement, ...(await failureOf(answered)) })
  await handedOn
}

const REASONS: Readonly<Record<CallerOutcome, RollbackEvent['reason']>> = {
  result: 'error',
  'own error': 'error',
  uncommitted: 'uncommitted',
  unfinished: 'unfinished',
  ended: 'ended',
  lost: 'error',
}

/** A failed rollback is an event, never the error that anyone is thrown; the backend is lost with it. */
async function failureOf(rollback: Promise<unknown>): Promise<{ error?: Error }> {
  try {
    await rollback
    return {}
  } catch (error) {
    return { error: error as Error }
  }
}

/** Hands the turn on; waits for the closing of the connection where that is asked for. */
async function handOn(broker: LocalBroker, turn: Lease, { left, error, close }: Leaving): Promise<void> {
  let closed: Promise<void> | null = null
  try {
    const closesOnError =
      left === 'threw' && broker.options.closeOn === 'database-error' && isFromServer(error)
    if (close || closesOnError) closed = broker.close()
  } finally {
    broker.passOn(turn)
  }
  await closed
}

/**
 * Its hold timed out, or its holder is gone: everything on it is rejected with `error` at once, and its backend is
 * tidied up behind it.
 */
export async function revoke(
  broker: LocalBroker,
  turn: Lease,
  error: Error,
  reason: 'hold timeout' | 'holder gone' = 'hold timeout',
): Promise<void> {
  const statement = turn.openedBy
  turn.revoke(error)
  turn.cancelAll()
  if (turn.outstanding > 0) await drain(broker, turn)
  const server = turn.serverState
  const answered = server === 'intrans' || server === 'inerror' ? turn.rollback() : null
  broker.passOn(turn)
  if (answered !== null) broker.onRollback({ reason, statement, ...(await failureOf(answered)) })
}
