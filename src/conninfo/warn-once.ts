const said = new Set<string>()

/** Emits a warning of the process, the same one only once. */
export function warnOnce(message: string): void {
  if (said.has(message)) return
  said.add(message)
  process.emitWarning(message, { type: 'ConninfoWarning' })
}
