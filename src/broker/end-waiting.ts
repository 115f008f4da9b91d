/** Tells whom an `end()` waits for. */
import { describeEndWaiting } from '../diagnostics/logging.js'
import { now } from '../util/clock.js'
import type { Dispatcher } from './dispatcher.js'

/** By an event, or by a warning of the process where nobody listens. */
export function tellEndWaiting(dispatcher: Dispatcher, millis: number): void {
  const { holder, statement, events, queue } = dispatcher
  const waiting = queue.length
  if (holder === null && statement === null && waiting === 0) return
  const { label, stack } = holder ?? { label: null, stack: null }
  const heldMillis = holder === null ? null : Math.round(now() - holder.grantedAt)
  const event = { millis, label, heldMillis, stack, statement, waiting }
  const isHeard = events.listens('endWaiting')
  events.tell('endWaiting', event)
  if (!isHeard) process.emitWarning(describeEndWaiting(event), 'ManagedConnectionWarning')
}
