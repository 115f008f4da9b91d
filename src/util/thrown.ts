/**
 * Looks at what was thrown. That may be anything, and even looking at it may throw (a revoked Proxy, a getter); these
 * functions never do.
 */

/** An error; false for what cannot be looked at. */
export function isError(thrown: unknown): thrown is Error {
  try {
    return thrown instanceof Error
  } catch {
    return false
  }
}

/** A member of it; undefined where there is none, or it cannot be had. */
export function memberOf(thrown: unknown, name: string): unknown {
  try {
    return (thrown as Record<string, unknown> | null | undefined)?.[name]
  } catch {
    return undefined
  }
}

/** The server sent it: a network error has a code too, but no severity. */
export function isFromServer(thrown: unknown): thrown is Error {
  return isError(thrown) && typeof memberOf(thrown, 'severity') === 'string'
}

/** What stands for it in a message. */
export function describeThrown(thrown: unknown): string {
  try {
    return isError(thrown) ? thrown.message : String(thrown)
  } catch {
    return 'something that cannot be shown'
  }
}
