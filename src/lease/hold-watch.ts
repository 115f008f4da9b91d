/** Watches how long one holder keeps the connection: warns, and takes it back. */
import { HoldTimeoutError } from '../errors.js'
import { now } from '../util/clock.js'
import { deadline } from '../util/deadlines.js'
import { revoke } from './release.js'
import type { HoldWarningEvent } from '../events.js'
import type { ResolvedOptions } from '../options.js'
import type { Lease } from './lease.js'

/** Gives what is to be called when the holder has left; null where nothing is watched. */
export function watchHold(
  lease: Lease,
  { holdWarningMillis, maxHoldMillis }: ResolvedOptions,
  warn: (event: HoldWarningEvent) => void,
): (() => void) | null {
  if (holdWarningMillis === 0 && maxHoldMillis === 0) return null
  const { label, stack, owner } = lease
  const { deadlines } = owner
  let warned = false
  const tell = (statement: string | null, how: { returned: boolean; takenBack: boolean }): void => {
    warned = true
    warn({ heldMillis: Math.round(now() - lease.grantedAt), label, stack, statement, ...how })
  }
  const warning = deadline(() => tell(owner.statement, { returned: false, takenBack: false }))
  const end = deadline(() => {
    // Its end is told, also where nobody was warned.
    warned = true
    const error = new HoldTimeoutError({
      maxHoldMillis,
      label,
      holderStack: stack,
      retrySafe: lease.retrySafe,
    })
    void revoke(lease, error, 'hold timeout')
  })
  if (holdWarningMillis > 0) deadlines.add(warning, holdWarningMillis)
  if (maxHoldMillis > 0) deadlines.add(end, maxHoldMillis)
  return () => {
    deadlines.remove(warning)
    deadlines.remove(end)
    const takenBack = lease.revocation !== null
    if (warned) tell(null, { returned: !takenBack, takenBack })
  }
}
