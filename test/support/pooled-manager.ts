/** A manager, and a pool face of it: together opened, and together gone. */
import { ManagedConnection, type ManagedConnectionOptions } from 'pg-managed-connection'
import { asPool, type ManagedPool, type PoolFaceOptions } from 'pg-managed-connection/pool'
import { endSoon } from './manager.js'

export interface PooledManager extends AsyncDisposable {
  readonly manager: ManagedConnection
  readonly pool: ManagedPool
}

/** Nobody waits for long: neither whoever asks, nor the pool's end. */
export function openPooled(
  conninfo: string,
  options: ManagedConnectionOptions = {},
  poolOptions: PoolFaceOptions = {},
): PooledManager {
  const manager = new ManagedConnection(conninfo, { acquireTimeoutMillis: 5_000, ...options })
  const pool = asPool(manager, { endTimeoutMillis: 500, ...poolOptions })
  const dispose = async (): Promise<void> => {
    await pool[Symbol.asyncDispose]()
    await endSoon(manager)
  }
  return { manager, pool, [Symbol.asyncDispose]: dispose }
}
