/** A manager that a test opens, and that is gone when the test is over, whatever the test has left. */
import type { ManagedConnectionOptions } from 'pg-managed-connection'
import { ManagedConnection } from './managed.js'

/** Ends a manager without much patience: a test that has failed may have left a holder behind. */
export async function endSoon(manager: ManagedConnection): Promise<void> {
  await manager.end({ timeoutMillis: 2_000 })
}

/** A manager that is not connected yet, and ends soon where a test that has failed leaves a holder behind. */
export function openManager(
  conninfo: string,
  options: ManagedConnectionOptions = {},
): ManagedConnection & AsyncDisposable {
  const manager = new ManagedConnection(conninfo, options)
  return Object.assign(manager, { [Symbol.asyncDispose]: () => endSoon(manager) })
}
