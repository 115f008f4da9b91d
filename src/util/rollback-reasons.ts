import type { RollbackReason } from '../events.js'

const COUNTS = {
  error: 0,
  uncommitted: 0,
  unfinished: 0,
  ended: 0,
  'hold timeout': 0,
  'holder gone': 0,
  aborted: 0,
  'one-shot': 0,
} satisfies Readonly<Record<RollbackReason, number>>

/** All of them, in the order of the settlement table. */
export const ROLLBACK_REASONS = Object.keys(COUNTS) as readonly RollbackReason[]

/** None of any. */
export function noRollbacks(): Record<RollbackReason, number> {
  return { ...COUNTS }
}
