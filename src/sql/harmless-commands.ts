/** Commands other than queries that leave the meaning of other texts as it is. */

const COMMANDS = new Set([
  ...['ANALYSE', 'ANALYZE', 'CHECKPOINT', 'CLOSE', 'COPY', 'DECLARE', 'FETCH', 'LISTEN', 'LOCK', 'MOVE'],
  ...['NOTIFY', 'SHOW', 'TRUNCATE', 'UNLISTEN', 'VACUUM'],
])

/** Settings that neither the parser nor the reading of a literal looks at. */
const SETTINGS = new Set([
  ...['application_name', 'client_min_messages', 'synchronous_commit', 'statement_timeout', 'lock_timeout'],
  ...['transaction_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout'],
])

/** Whether a statement that begins with these tokens is one of them. An empty text is. */
export function isHarmlessCommand(opening: readonly string[]): boolean {
  const [word] = opening
  if (word === undefined || COMMANDS.has(word)) return true
  return (word === 'SET' || word === 'RESET') && setsHarmless(opening.slice(1))
}

function setsHarmless(tokens: readonly string[]): boolean {
  const [scope, ...others] = tokens
  // SET SESSION CHARACTERISTICS AS TRANSACTION, SET TRANSACTION, SET CONSTRAINTS
  if (scope === 'TRANSACTION' || scope === 'CONSTRAINTS' || others[0] === 'CHARACTERISTICS') return true
  const [name = '', next] = scope === 'LOCAL' || scope === 'SESSION' ? others : tokens
  // A setting of the user's own, as in app.tenant.
  return next === '.' || isHarmlessSetting(name.toLowerCase())
}

/** Whether a setting has no say in what a text means: one of the user's own (`app.tenant`), or one of those above. */
export function isHarmlessSetting(name: string): boolean {
  return name.includes('.') || SETTINGS.has(name)
}
