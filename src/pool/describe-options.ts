/** `options` of a pool, in pg's words: whom it is connected to and for how long, and never a password. */
import type { PoolOptions } from 'pg'
import type { ManagedConnection, Manager } from '../index.js'

type Facts = ManagedConnection['facts']

/**
 * Where the manager is one of the library's, they have what it knows; host and port are those of the server that it
 * is connected to.
 */
export function describeOptions(manager: Manager): PoolOptions {
  const facts = (): Facts | undefined => (manager as Partial<ManagedConnection>).facts
  const general = { max: 1, min: 0, maxUses: Infinity, allowExitOnIdle: true }
  const known = facts()
  if (known === undefined) return { ...general, idleTimeoutMillis: 0, maxLifetimeSeconds: 0 }
  const { user, database, idleTimeoutMillis, maxLifetimeMillis } = known
  return {
    get host() {
      return facts()!.host
    },
    get port() {
      return facts()!.port
    },
    ...{ user, database, ...general, idleTimeoutMillis, maxLifetimeSeconds: maxLifetimeMillis / 1_000 },
  }
}
