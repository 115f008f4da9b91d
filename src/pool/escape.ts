/** Names and strings as SQL text, by PostgreSQL's rules and with the results that pg's own functions give. */

/** A name in double quotes. */
export function escapeIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/**
 * A string in single quotes; with backslashes in it an escape string, which reads the same in every setting. What
 * is not a string is the empty one.
 */
export function escapeLiteral(text: unknown): string {
  if (typeof text !== 'string') return "''"
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`
  return quoted.includes('\\') ? ` E${quoted}` : quoted
}
