/** The tests of the owner's manager on a worker's: verbs and figures by a port, events and the ending by the owner. */
import { ManagedConnection, type ManagedConnectionOptions, type Manager } from 'pg-managed-connection'
import { attach, share } from 'pg-managed-connection/worker'

/** What a worker's manager has; all else is asked of the owner. */
const BY_PORT: ReadonlySet<PropertyKey> = new Set<keyof Manager>([
  'use',
  'acquire',
  'tryAcquire',
  'transaction',
  'query',
  'batch',
  'listen',
  'closed',
  'status',
  'stats',
  'connect',
  'with',
  'close',
])

/** Both as one, so that a test need not know which of them it asks. */
function shareWithItself(conninfo?: string, options?: ManagedConnectionOptions): ManagedConnection {
  const owner = new ManagedConnection(conninfo, options)
  const attached = attach(share(owner))
  return new Proxy(owner, {
    get(_owner, name) {
      const asked = BY_PORT.has(name) ? attached : owner
      const value: unknown = Reflect.get(asked, name, asked)
      return typeof value === 'function' ? value.bind(asked) : value
    },
  })
}

/** To be constructed as `ManagedConnection` is. */
export const AttachedConnection = new Proxy(ManagedConnection, {
  construct: (_class, [conninfo, options]: [string?, ManagedConnectionOptions?]) =>
    shareWithItself(conninfo, options),
})
