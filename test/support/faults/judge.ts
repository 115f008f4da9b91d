/**
 * Whether what the callers of the reference program were told is true: compared with what went over their sockets
 * (the witness) and, through the ledger, with what is stored.
 */
import {
  AcquireTimeoutError,
  ConnectError,
  ConnectionLostError,
  StatementTimeoutError,
} from 'pg-managed-connection'
import type { Fate, Ledger } from '../ledger.js'
import { ANY_MARKER, markerOf, type Step } from './reference.js'
import type { Witness, WitnessedUnit } from './witness.js'

/** What may be expected of a trial. */
export interface Circumstances {
  /** The peer may have gone deaf, so that deadlines run out. */
  readonly deaf: boolean
}

/** Settles the rows of each step in the ledger; returns what is wrong, a sentence each. */
export function judge(
  steps: readonly Step[],
  witness: Witness,
  ledger: Ledger,
  circumstances: Circumstances,
): string[] {
  return steps.flatMap((step) => {
    settle(step, ledger)
    const { outcome } = step
    const wrong =
      outcome.status === 'fulfilled' ? null : objection(step, outcome.reason, witness, circumstances)
    return wrong === null ? [] : [`${step.name}: ${wrong}`]
  })
}

function settle({ kind, name, rows, takenBack, outcome }: Step, ledger: Ledger): void {
  for (const id of takenBack) ledger.settle(id, 'refused', `${name} took it back`)
  const fate: Fate = outcome.status === 'fulfilled' ? 'confirmed' : fateAfter(outcome.reason, kind)
  for (const id of rows) ledger.settle(id, fate, `${name}: ${describeOutcome(outcome)}`)
}

function fateAfter(error: unknown, kind: Step['kind']): Fate {
  if (error instanceof ConnectionLostError) return error.commitOutcome === 'unknown' ? 'unknown' : 'refused'
  // A statement of a transaction that is over takes the transaction with it; one that commits by itself may have.
  if (error instanceof StatementTimeoutError && kind !== 'transaction' && error.cause === undefined)
    return 'unknown'
  return 'refused'
}

/** What is wrong with a failure; null when there is nothing. */
function objection(step: Step, error: unknown, witness: Witness, { deaf }: Circumstances): string | null {
  if (error === step.ownError) return null
  if (error instanceof ConnectError) {
    // The very first connect fails at once; one that is opened again is tried until it succeeds.
    const again = witness.connectedAt < step.settledAt
    return again ? `not reconnected: ${error.message}` : null
  }
  if (error instanceof ConnectionLostError) return objectionToLoss(step, error, witness)
  if (deaf && (error instanceof StatementTimeoutError || error instanceof AcquireTimeoutError)) return null
  return `an error that nothing explains: ${String((error as Error | undefined)?.stack ?? error)}`
}

function objectionToLoss(step: Step, error: ConnectionLostError, witness: Witness): string | null {
  const bySession = witness.unitsOf(markerOf(step.name), ANY_MARKER)
  const last = bySession.at(-1)
  if (last === undefined) return 'lost, though nothing had been sent for it'
  const unknown = last.some((unit) => !unit.answered && mayCommit(step, unit))
  if (unknown && error.commitOutcome !== 'unknown') return 'told "none" with a COMMIT sent and not answered'
  if (!unknown && error.commitOutcome === 'unknown')
    return 'told "unknown" without a COMMIT sent and not answered'
  if (step.kind !== 'transaction' || bySession.length > 1) return null
  // The opening is replayed while its BEGIN is not answered: such a one must not hear of the loss at all.
  return last[0]!.tags.includes('BEGIN') ? null : 'lost, though its BEGIN had not been answered'
}

function mayCommit({ kind, name }: Step, { texts }: WitnessedUnit): boolean {
  const own = texts.some((text) => text.includes(markerOf(name)))
  return kind === 'transaction' ? texts.includes('COMMIT') : own
}

function describeOutcome(outcome: Step['outcome']): string {
  return outcome.status === 'fulfilled' ? 'resolved' : String(outcome.reason)
}
