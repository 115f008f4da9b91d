/** A manager whose connections pass through a proxy that writes down what is said. */
import type { ManagedConnectionOptions } from 'pg-managed-connection'
import { toConninfo, type Address } from './address.js'
import type { TestDatabase } from './database.js'
import { startProxy, type Proxy } from './proxy.js'
import type { Recording } from './recording.js'
import { ManagedConnection } from './managed.js'
import { endSoon } from './manager.js'

/** What a test of the wire works with. */
export interface Proxied extends AsyncDisposable {
  readonly manager: ManagedConnection
  readonly proxy: Proxy
  readonly recording: Recording
}

/** The way to a test's database that leads over an address such as a proxy's. */
export function conninfoThrough(
  { host, port }: Address,
  { login, name }: Pick<TestDatabase, 'login' | 'name'>,
): string {
  return `${toConninfo({ ...login, host, port }, name)}?sslmode=disable`
}

/**
 * Starts a proxy and a manager behind it, which is not connected yet.
 *
 * ```ts
 * await using wire = await openProxied(database, { pipeline: false })
 * await wire.manager.query('SELECT 1')
 * assert.deepEqual(wire.recording.sent(), […])
 * ```
 */
export async function openProxied(
  database: Pick<TestDatabase, 'login' | 'name'>,
  options: ManagedConnectionOptions = {},
): Promise<Proxied> {
  const proxy = await startProxy(database.login)
  const recording = proxy.record()
  const manager = new ManagedConnection(conninfoThrough(proxy, database), options)
  const dispose = async (): Promise<void> => {
    proxy.resume()
    await endSoon(manager)
    proxy.close()
  }
  return { manager, proxy, recording, [Symbol.asyncDispose]: dispose }
}

/** The same, connected, and nothing of that in the recording. */
export async function openConnected(
  database: Pick<TestDatabase, 'login' | 'name'>,
  options: ManagedConnectionOptions = {},
): Promise<Proxied> {
  const wire = await openProxied(database, options)
  await wire.manager.query('SELECT')
  wire.recording.clear()
  return wire
}
