/** How much of a statement a message quotes. */
const QUOTED_LENGTH = 200

/** A statement as messages quote it: on one line, and cut when it is long. */
export function quoteStatement(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length > QUOTED_LENGTH ? `${line.slice(0, QUOTED_LENGTH)}…` : line
}
