/** What all chapters share. */
import { ManagedConnection } from 'pg-managed-connection'
import { Admin } from '../test/support/admin.js'
import type { PostgresServer } from '../test/support/postgres.js'
import { Claims } from './claims.js'
import { Counters } from './counters.js'
import { Occupancy } from './occupancy.js'

/** The name by which the manager's backend is found in pg_stat_activity. */
const MANAGED = 'managed'

export interface Stage {
  readonly server: PostgresServer
  /** A connection beside the show, to look at the server and to do harm. */
  readonly admin: Admin
  readonly manager: ManagedConnection
  readonly counters: Counters
  readonly claims: Claims
  /** Who is inside a callback of the manager's. */
  readonly occupancy: Occupancy
}

export async function setStage(server: PostgresServer): Promise<Stage & AsyncDisposable> {
  const admin = new Admin(server, 'postgres')
  const counters = new Counters(admin)
  await counters.create()
  const manager = new ManagedConnection(`${server.conninfo()}&application_name=${MANAGED}`)
  return {
    server,
    admin,
    manager,
    counters,
    claims: new Claims(),
    occupancy: new Occupancy(),
    async [Symbol.asyncDispose]() {
      await manager.end()
      await admin.end()
    },
  }
}

/** The server processes that the manager has at this moment, as the server counts them. */
export async function managedBackends({ admin }: Stage): Promise<number[]> {
  const backends = await admin.activity()
  return backends.filter(({ application_name }) => application_name === MANAGED).map(({ pid }) => pid)
}
