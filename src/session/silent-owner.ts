import type { Unit, UnitOwner } from '../driver/unit.js'

/** Owns the library's own units, of which only their promise is asked for. */
export const SILENT_OWNER: UnitOwner = {
  admit: () => null,
  onAnswered: (unit: Unit) => (unit.error === null ? unit.resolve(unit.outcome) : unit.reject(unit.error)),
  onWithdrawn: (unit: Unit, error: Error | null) => unit.reject(error),
  onLost: (unit: Unit, cause: Error) => unit.reject(cause),
}
