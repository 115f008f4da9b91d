/**
 * A job that runs every now and then, on however many machines, and never twice at the same time: an advisory lock
 * of the server's says whose turn it is. The lock belongs to the session, so it goes when the machine dies.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { ManagedConnection } from 'pg-managed-connection'
import { openServer } from './support/server.js'

const LOCK = 4711

/** One run of the job; false where another machine is at it. */
async function runOnce(manager: ManagedConnection, name: string): Promise<boolean> {
  // In a transaction the lock is given back with it, whatever happens.
  return manager.transaction(async (connection) => {
    const { rows } = await connection.query<{ mine: boolean }>(
      'SELECT pg_try_advisory_xact_lock($1) AS mine',
      [LOCK],
    )
    if (rows[0]?.mine !== true) return false
    console.log(`${name} works`)
    await sleep(200) // the job itself
    return true
  })
}

await using server = await openServer()
// Two machines, each with its one connection.
await using one = new ManagedConnection(server.conninfo)
await using two = new ManagedConnection(server.conninfo)

for (const run of [1, 2, 3]) {
  const [first, second] = await Promise.all([runOnce(one, 'one of them'), runOnce(two, 'one of them')])
  console.log(`run ${run}: ${Number(first) + Number(second)} of 2 had the lock`)
}
