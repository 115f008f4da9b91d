/** Where a verb of the manager was called: whatever a bundler makes of this package's files, its own frames are left out. */
export function framesAbove(verb: (...args: never[]) => unknown): string {
  const place: { stack?: string } = {}
  Error.captureStackTrace(place, verb)
  // The first line would be the error's message.
  return (place.stack ?? '').split('\n').slice(1).join('\n')
}
