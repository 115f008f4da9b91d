/** The server sent it: a network error has a code too, but no severity. */
export function isFromServer(error: unknown): error is Error {
  return error instanceof Error && typeof (error as { severity?: unknown }).severity === 'string'
}
