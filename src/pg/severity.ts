/** Which of the server's errors end the backend. */

/**
 * The severities that servers send untranslated beside the one for people (manual, "Error and Notice Message Fields",
 * V), which pg leaves out of its errors.
 */
const severities = new WeakMap<object, string>()

export function noteSeverity(error: object, severity: string): void {
  severities.set(error, severity)
}

/** FATAL and PANIC end the backend. Poolers and servers of long ago send the word for people only. */
export function isFatal(error: Error): boolean {
  const severity = severities.get(error) ?? (error as { severity?: unknown }).severity
  return severity === 'FATAL' || severity === 'PANIC'
}
