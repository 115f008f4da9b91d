/** Tells one who has waited in vain what it was that the connection was not free for. */
import { AcquireTimeoutError } from '../errors.js'
import { onOneLine } from '../errors/connect-story.js'
import { now } from '../util/clock.js'
import type { Dispatcher } from './dispatcher.js'

/** @param label of the one who has waited */
export function acquireTimeout(
  dispatcher: Dispatcher,
  timeoutMillis: number,
  label: string | null,
): AcquireTimeoutError {
  const { holder, statement, queue, life } = dispatcher
  const waiting = queue.length
  if (holder === null) {
    const unheld = { heldMillis: null, holderLabel: null, holderStack: null, statement: null }
    const { why, cause } = whyNobody(life)
    return new AcquireTimeoutError({ timeoutMillis, label, waiting, ...unheld, whyNobody: why, cause })
  }
  return new AcquireTimeoutError({
    timeoutMillis,
    label,
    waiting,
    heldMillis: Math.round(now() - holder.grantedAt),
    holderLabel: holder.label,
    holderStack: holder.stack,
    statement,
    whyNobody: null,
  })
}

function whyNobody({ keeper, state }: Dispatcher['life']): { why: string; cause?: Error } {
  const { opening, attemptError } = keeper
  if (opening && attemptError !== null)
    return { why: `still connecting; so far: ${onOneLine(attemptError.message)}`, cause: attemptError }
  if (opening) return { why: 'still connecting' }
  return {
    why: state === 'checking' ? 'still checking the connection' : 'held by queries that are not answered yet',
  }
}
