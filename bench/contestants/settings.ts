/** This library, with settings and a role for each turn. */
import { ManagedConnection, type Manager } from 'pg-managed-connection'
import { conninfoOf } from '../place.js'
import { inProcess, type Contestant } from './contestant.js'

type Rows = Record<string, unknown>[]
type Once = (manager: Manager, text: string, values: unknown[]) => Promise<Rows>

const byTransaction: Once = (manager, text, values) =>
  manager.transaction(async (connection) => {
    const { rows } = await connection.query(text, values)
    return rows as Rows
  })

const byQuery: Once = async (manager, text, values) => (await manager.query(text, values)).rows as Rows

function contestant(once: Once, common: Parameters<Manager['with']>[0]): Contestant {
  return inProcess((place, work) => {
    const manager = new ManagedConnection(conninfoOf(place))
    const tenant = manager.with(common)
    return {
      once: async (n) => work.check(await once(tenant, work.text, [work.value(n)]), n),
      close: () => manager.end(),
    }
  })
}

/** Two statements more, which the server has to parse and run, and a role whose rights it looks up. */
const TENANT = { settings: { 'app.tenant': 42 }, role: 'pg_read_all_data' }

function entries(once: Once) {
  return [
    { name: 'without', contestant: contestant(once, {}) },
    { name: 'one setting', contestant: contestant(once, { settings: TENANT.settings }) },
    { name: 'a setting and a role', contestant: contestant(once, TENANT) },
  ]
}

export const settingsTransactions = entries(byTransaction)
export const settingsQueries = entries(byQuery)
