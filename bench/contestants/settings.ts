/** This library, with settings and a role for each turn. */
import { ManagedConnection, type Manager } from 'pg-managed-connection'
import { conninfoOf, type Place } from '../place.js'
import { inProcess, type Contestant } from './contestant.js'

type Rows = Record<string, unknown>[]
type Once = (manager: Manager, text: string, values: unknown[]) => Promise<Rows>

const byTransaction: Once = (manager, text, values) =>
  manager.transaction(async (connection) => {
    const { rows } = await connection.query(text, values)
    return rows as Rows
  })

const byQuery: Once = async (manager, text, values) => (await manager.query(text, values)).rows as Rows

type Common = Parameters<Manager['with']>[0]

function contestant(once: Once, commonAt: (place: Place) => Common): Contestant {
  return inProcess((place, work) => {
    const manager = new ManagedConnection(conninfoOf(place))
    const tenant = manager.with(commonAt(place))
    return {
      once: async (n) => work.check(await once(tenant, work.text, [work.value(n)]), n),
      close: () => manager.end(),
    }
  })
}

const settings = { 'app.tenant': 42 }

/** Each is one command more, which the server has to read and to run. The role is the login's own, which may do all. */
function entries(once: Once) {
  return [
    { name: 'without', contestant: contestant(once, () => ({})) },
    { name: 'one setting', contestant: contestant(once, () => ({ settings })) },
    {
      name: 'a setting and a role',
      contestant: contestant(once, ({ login }) => ({ settings, role: login.user })),
    },
  ]
}

export const settingsTransactions = entries(byTransaction)
export const settingsQueries = entries(byQuery)
