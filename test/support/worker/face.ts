/** The faces of one promise: the manager itself, and a worker's manager attached to it. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ManagedConnection, type ManagedConnectionOptions, type Manager } from 'pg-managed-connection'
import { attach, share } from 'pg-managed-connection/worker'
import type { TestFunction } from '../suite.js'
import type { TestDatabase } from '../database.js'

/** A manager under test, and the one that owns the connection: the same in one of the faces. */
export interface Faced extends AsyncDisposable {
  readonly manager: Manager
  readonly owner: ManagedConnection
}

/** A way to look at a connection. */
export interface Face {
  readonly name: string
  /** Whether what is asked goes by a port, which takes no submittables. */
  readonly acrossThreads: boolean
  open(options?: ManagedConnectionOptions): Faced
}

/** What a suite of tests is given. */
export interface Suite {
  /** Its sentences begin with the name of the face. */
  readonly test: TestFunction
  readonly database: TestDatabase
  readonly face: Face
}

/** The faces, for a database. */
export function createFaces({ conninfo }: TestDatabase): Face[] {
  return [
    { name: 'directly', acrossThreads: false, open: (options) => openDirectly(conninfo, options) },
    { name: 'from a worker', acrossThreads: true, open: (options) => openAttached(conninfo, options) },
  ]
}

function openDirectly(conninfo: string, options?: ManagedConnectionOptions): Faced {
  const owner = new ManagedConnection(conninfo, options)
  return { manager: owner, owner, [Symbol.asyncDispose]: () => owner.end() }
}

function openAttached(conninfo: string, options?: ManagedConnectionOptions): Faced {
  const owner = new ManagedConnection(conninfo, options)
  const manager = attach(share(owner))
  const dispose = async (): Promise<void> => {
    await manager.end({ timeoutMillis: 1_000 })
    await owner.end({ timeoutMillis: 1_000 })
    await nextTurn()
  }
  return { manager, owner, [Symbol.asyncDispose]: dispose }
}
