/** Many tasks, one connection: each has it to itself for a while, and a mistake of one is not the next one's. */
import { ManagedConnection } from 'pg-managed-connection'
import { openServer } from './support/server.js'

await using server = await openServer()
// Nothing connects yet: that happens when the connection is first wanted.
await using manager = new ManagedConnection(server.conninfo)

await manager.query('CREATE TEMPORARY TABLE visits (page text PRIMARY KEY, n int NOT NULL)')
await manager.query("INSERT INTO visits VALUES ('home', 0)")

async function visit(): Promise<void> {
  // BEGIN and COMMIT are sent for you; what is thrown rolls back.
  await manager.transaction(async (connection) => {
    const { rows } = await connection.query<{ n: number }>("SELECT n FROM visits WHERE page = 'home'")
    await connection.query("UPDATE visits SET n = $1 WHERE page = 'home'", [rows[0]!.n + 1])
  })
}

// A hundred at once, and none is lost: they take turns, in the order of asking.
await Promise.all(Array.from({ length: 100 }, visit))

// A task that fails half-way leaves nothing behind.
const failing = manager.transaction(async (connection) => {
  await connection.query('UPDATE visits SET n = 0')
  throw new Error('changed my mind')
})
console.log('the failing task:', await failing.catch((error: Error) => error.message))

const { rows } = await manager.query<{ n: number }>('SELECT n FROM visits')
console.log('visits:', rows[0]?.n)
console.log('server connections:', manager.stats.connects)
