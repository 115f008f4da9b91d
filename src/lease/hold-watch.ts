/** Watches how long one holder keeps the connection: warns, and takes it back. */
import { HoldTimeoutError } from '../errors.js'
import { now } from '../util/clock.js'
import { deadline } from '../util/deadlines.js'
import { revoke } from './release.js'
import type { HoldWarningEvent } from '../events.js'
import type { Lease } from './lease.js'

/**
 * @param stack where the holder asked for it
 * @param limits in milliseconds; 0 = off
 * @returns what is to be called when the holder has left
 */
export function watchHold(
  lease: Lease,
  stack: string | null,
  limits: { readonly holdWarningMillis: number; readonly maxHoldMillis: number },
  warn: (event: HoldWarningEvent) => void,
): () => void {
  const { holdWarningMillis, maxHoldMillis } = limits
  const { deadlines } = lease.owner
  let warned = false
  const tell = (returned: boolean): void => {
    warned = true
    warn({ heldMillis: Math.round(now() - lease.grantedAt), stack, returned })
  }
  const warning = deadline(() => tell(false))
  const end = deadline(() => {
    const error = new HoldTimeoutError({ maxHoldMillis, holderStack: stack, retrySafe: lease.retrySafe })
    void revoke(lease, error, 'hold timeout')
  })
  if (holdWarningMillis > 0) deadlines.add(warning, holdWarningMillis)
  if (maxHoldMillis > 0) deadlines.add(end, maxHoldMillis)
  return () => {
    deadlines.remove(warning)
    deadlines.remove(end)
    if (warned) tell(true)
  }
}
