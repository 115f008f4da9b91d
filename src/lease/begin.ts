/** The text of BEGIN, from the options of `transaction()` and `batch()` (manual, "BEGIN", "SET TRANSACTION"). */
import type { TransactionModes } from '../api/call-options.js'

const ISOLATION_LEVELS = ['read uncommitted', 'read committed', 'repeatable read', 'serializable']

/** Makes the text. Throws a TypeError for a word that is not one of SQL's: nothing else may reach the server. */
export function beginText({ isolationLevel, accessMode, deferrable }: TransactionModes): string {
  const modes: string[] = []
  if (isolationLevel !== undefined)
    modes.push(`ISOLATION LEVEL ${word('isolationLevel', isolationLevel, ISOLATION_LEVELS)}`)
  if (accessMode !== undefined) modes.push(word('accessMode', accessMode, ['read only', 'read write']))
  if (deferrable !== undefined) {
    if (typeof deferrable !== 'boolean')
      throw new TypeError(`deferrable must be a boolean, but is ${String(deferrable)}`)
    modes.push(deferrable ? 'DEFERRABLE' : 'NOT DEFERRABLE')
  }
  return modes.length === 0 ? 'BEGIN' : `BEGIN ${modes.join(', ')}`
}

function word(name: string, value: string, allowed: readonly string[]): string {
  const known = allowed.find((candidate) => candidate === String(value).toLowerCase())
  if (known !== undefined) return known.toUpperCase()
  throw new TypeError(`${name} must be '${allowed.join("', '")}', but is '${String(value)}'`)
}
