/**
 * A schedule that one of several machines keeps, while the others stand by. It is told when it leads no more, and its
 * epoch has the table refuse it should it not hear of that in time.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { ManagedConnection } from 'pg-managed-connection'
import { lead } from 'pg-managed-connection/leader'
import { openServer } from './support/server.js'

const EVERY_MILLIS = 100
const RUNS = 6

/** Runs the job again and again, until there is no more to do. */
async function keepSchedule(
  manager: ManagedConnection,
  machine: string,
  shutdown?: AbortSignal,
): Promise<void> {
  const work = async ({ signal, epoch }: { signal: AbortSignal; epoch: bigint }): Promise<void> => {
    console.log(`${machine} leads`)
    while (!signal.aborted) {
      // In one statement: whether it is this leader's to do, and what is done.
      const { rows } = await manager.query<{ runs: number }>(
        'UPDATE schedule SET runs = runs + 1, epoch = $1 WHERE epoch <= $1 AND runs < $2 RETURNING runs',
        [epoch, RUNS],
      )
      if (rows.length === 0) return
      console.log(`${machine} has done run ${rows[0]!.runs}`)
      await sleep(EVERY_MILLIS, undefined, { signal })
    }
  }
  await lead(manager, 'schedule', work, { retryMillis: 50, signal: shutdown })
}

await using server = await openServer()
// Two machines, each with its one connection.
await using one = new ManagedConnection(server.conninfo)
await using two = new ManagedConnection(server.conninfo)
await one.query('DROP TABLE IF EXISTS schedule')
await one.query('CREATE TABLE schedule (epoch numeric NOT NULL, runs int NOT NULL)')
await one.query('INSERT INTO schedule VALUES (0, 0)')

const shutdown = new AbortController()
const first = keepSchedule(one, 'machine 1', shutdown.signal)
await sleep(EVERY_MILLIS)
const second = keepSchedule(two, 'machine 2')
await sleep(2 * EVERY_MILLIS)

shutdown.abort(new Error('the machine is shut down'))
await first.catch((error: Error) => console.log(`machine 1: ${error.message}`))
await second
const { rows } = await one.query<{ runs: number }>('SELECT runs FROM schedule')
console.log('runs:', rows[0]?.runs)
await one.query('DROP TABLE schedule')
