/**
 * A holder leaves: what is still in flight is waited for, the settlement table is read, the transaction is committed or
 * rolled back, and the lease is passed on, whatever goes wrong on the way.
 */
import { UncommittedTransactionError, UnfinishedStatementError } from '../errors.js'
import { withCallersFrames } from '../util/callers-frames.js'
import { isFromServer } from '../util/thrown.js'
import { drain } from './drain.js'
import { NESTED } from './nested.js'
import { settle, type CallerOutcome, type EndAnswer } from './settlement.js'
import type { Leaving } from '../api/ports.js'
import type { RollbackEvent } from '../events.js'
import type { BaseLease } from './base-lease.js'
import type { Lease } from './lease.js'

/**
 * Settles `lease` and passes it on. Resolves when the caller has its result or its own error; rejects with what the
 * table gives the caller instead.
 */
export async function release(lease: BaseLease, leaving: Leaving): Promise<void> {
  throwIfRevoked(lease)
  try {
    lease.become('leaving')
    const unfinished = takeUnfinished(lease)
    if (lease.requests.outstanding > 0) {
      await drain(lease)
      // It was revoked meanwhile, and `revoke` tidies up.
      throwIfRevoked(lease)
    }
    await settleAs(lease, leaving, unfinished)
  } finally {
    // The lease is always passed on, so that no waiter hangs.
    if (lease.revocation === null && lease.state !== 'over') {
      lease.requests.backend?.lose(new Error('BUG: a lease ended without being settled'))
      lease.owner.passOn(lease)
    }
  }
}

function throwIfRevoked({ revocation }: BaseLease): void {
  if (revocation !== null) throw revocation
}

function takeUnfinished({ requests, terms, nested }: BaseLease): string[] {
  const unfinished = requests.outstanding > 0 ? requests.takeUnfinished() : []
  // The library must not commit half of what a nested transaction would still undo.
  if (terms.owned && nested > 0) unfinished.push(NESTED)
  return unfinished
}

function settleAs(lease: BaseLease, leaving: Leaving, unfinished: readonly string[]): Promise<void> {
  const { requests, terms } = lease
  const { connection, caller } = settle({
    left: leaving.left,
    server: requests.serverState,
    unfinished: unfinished.length > 0,
    openWhenLost: requests.loss?.open ?? false,
    owner: terms.owned ? 'library' : 'holder',
    endedByText: terms.owned && requests.transaction.endedByText,
  })
  if (connection === 'commit') return commit(lease, leaving.close)
  const outcome = callersError(lease, caller, unfinished)
  const done = connection === 'rollback' ? rollBack(lease, caller, leaving) : passOn(lease, leaving)
  return thenThrow(done, outcome)
}

async function thenThrow(done: Promise<void>, outcome: Error | null): Promise<void> {
  await done
  if (outcome !== null) throw outcome
}

function callersError(
  { requests, retrySafe }: BaseLease,
  caller: CallerOutcome,
  statements: readonly string[],
): Error | null {
  const { transaction, loss } = requests
  const cause = transaction.swallowed ?? undefined
  switch (caller) {
    case 'result':
    case 'own error':
      return null
    case 'uncommitted':
      return new UncommittedTransactionError({ statement: transaction.openedBy, retrySafe, cause })
    case 'unfinished':
      return new UnfinishedStatementError({ statements, retrySafe, cause })
    case 'ended':
      return transaction.endedError()
    case 'lost':
      return requests.lossError(loss!)
    default:
      return caller satisfies never
  }
}

/**
 * The lease is passed on when COMMIT has been sent: it ends the transaction whatever its answer is. Where the
 * connection may have to be closed behind it, the answer comes first.
 */
export async function commit(lease: BaseLease, close: boolean): Promise<void> {
  const { owner, requests } = lease
  const { commitment } = requests
  const preparing = commitment?.prepare() ?? null
  if (preparing !== null) {
    await preparing
    throwIfRevoked(lease)
  }
  // Meanwhile, or since the last statement of a batch was answered.
  if (requests.loss !== null) {
    return thenThrow(passOn(lease, { left: 'threw', close }), requests.lossError(requests.loss))
  }
  const early = !close && owner.options.closeOn !== 'database-error' && !owner.life.replacementDue
  const { retrySafe } = lease
  lease.commitSent = true
  const answered = requests.end('COMMIT')
  // A batch that was taken back before it was sent has opened nothing.
  if (answered === null) return passOn(lease, { left: 'returned', close })
  const confirmed =
    commitment === null ? answered : commitment.confirm(answered, commitment.join(), retrySafe)
  if (early) owner.passOn(lease)
  else {
    confirmed.catch(() => {}) // it is waited for below
    await passOnBehind(answered, lease, close)
  }
  let answer: EndAnswer
  try {
    answer = await confirmed
  } catch (error) {
    return withCallersFrames(error)
  }
  lease.checkCommitted(answer)
}

/** Whatever has to be found out about a COMMIT, or flushed behind it, needs the connection. */
async function passOnBehind(answered: Promise<unknown>, lease: BaseLease, close: boolean): Promise<void> {
  const failure = await answered.then(
    () => null,
    (error: unknown) => ({ error }),
  )
  // It was taken back before COMMIT was sent, and `revoke` tidies up: its transaction is open still.
  throwIfRevoked(lease)
  await passOn(lease, { left: failure === null ? 'returned' : 'threw', error: failure?.error, close })
}

async function rollBack(lease: BaseLease, caller: CallerOutcome, leaving: Leaving): Promise<void> {
  const statement = lease.requests.transaction.openedBy
  const answered = lease.requests.end('ROLLBACK')!
  const passedOn = passOn(lease, leaving)
  const reason = caller === 'result' || caller === 'own error' || caller === 'lost' ? 'error' : caller
  lease.owner.onRollback({ reason, label: lease.label, statement, ...(await failureOf(answered)) })
  await passedOn
}

/** A failed rollback is told by an event and never thrown. The backend is lost with it. */
async function failureOf(rollback: Promise<unknown>): Promise<Pick<RollbackEvent, 'error'>> {
  try {
    await rollback
    return {}
  } catch (error) {
    return { error: error as Error }
  }
}

/** Passes the lease on; waits for the closing of the connection where that is asked for. */
async function passOn(lease: BaseLease, { left, error, close }: Leaving): Promise<void> {
  const { owner } = lease
  let closed: Promise<void> | null = null
  try {
    const closesOnError = left === 'threw' && owner.options.closeOn === 'database-error'
    if (close || (closesOnError && isFromServer(error))) closed = owner.life.close()
  } finally {
    owner.passOn(lease)
  }
  await closed
}

/**
 * Its hold timed out, its holder is gone, or nobody wants it any more: everything on it is rejected with `error` at once, and its session is
 * tidied up behind it.
 */
export async function revoke(
  lease: Lease,
  error: Error,
  reason: 'hold timeout' | 'holder gone' | 'aborted',
): Promise<void> {
  // The other reason may have come before.
  if (lease.revocation !== null) return
  const { requests } = lease
  const statement = requests.transaction.openedBy
  lease.revoke(error)
  if (requests.outstanding > 0) await drain(lease)
  const { serverState } = requests
  const answered = serverState === 'intrans' || serverState === 'inerror' ? requests.end('ROLLBACK') : null
  lease.owner.passOn(lease)
  if (answered !== null)
    lease.owner.onRollback({ reason, label: lease.label, statement, ...(await failureOf(answered)) })
}
