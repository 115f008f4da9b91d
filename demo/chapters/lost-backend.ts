/** The backend is killed: before a turn nobody notices, within one its holder is told. */
import { ConnectionLostError } from 'pg-managed-connection'
import { caught, quoteEvent } from '../claims.js'
import { increment } from '../counters.js'
import { count, heading, say } from '../screen.js'
import type { Stage } from '../stage.js'

const KILLS = 5
const TASKS_PER_KILL = 20

export async function killBeforeUse(stage: Stage): Promise<void> {
  const { manager, claims, counters } = stage
  heading('A backend killed in the moment before use')
  say(
    `The server process gets its SIGTERM, and in the same instant ${TASKS_PER_KILL} tasks ask for the connection: ` +
      `${KILLS} times over.`,
  )
  manager.once('disconnect', (error) => quoteEvent('disconnect', error))
  const pids = new Set([manager.stats.processID])
  const errors: unknown[] = []
  for (let kill = 0; kill < KILLS; kill++) {
    process.kill((await connectedPid(stage))!, 'SIGTERM')
    const outcomes = await Promise.all(
      Array.from({ length: TASKS_PER_KILL }, () => caught(incrementOnce(stage))),
    )
    errors.push(...outcomes.filter((error) => error !== null))
    pids.add(manager.stats.processID)
  }
  const tasks = KILLS * TASKS_PER_KILL
  if (errors.length > 0) say(`The first error: ${String(errors[0])}`)
  claims.check(pids.size === KILLS + 1, `the connection went through the processes ${[...pids].join(', ')}`)
  claims.check(errors.length === 0, `none of the ${tasks} tasks noticed anything`)
  claims.check(
    (await counters.stored()).killed === counters.confirmed('killed'),
    `and ${tasks} increments are stored`,
  )
}

async function connectedPid({ manager }: Stage): Promise<number | null> {
  if (manager.closed) await manager.query('SELECT 1')
  return manager.stats.processID
}

async function incrementOnce({ manager, occupancy, counters }: Stage): Promise<void> {
  await manager.transaction((connection) => occupancy.during(() => increment(connection, 'killed')))
  counters.confirm('killed')
}

export async function killInTransaction(stage: Stage): Promise<void> {
  const { manager, claims, counters, admin, occupancy } = stage
  heading('A backend killed in the middle of a transaction')
  say('The server process is ended while a task has a transaction open; another task waits in line.')
  const lost = manager.use((connection) =>
    occupancy.during(async () => {
      await increment(connection, 'killed')
      await admin.terminate(connection.processID!)
      await increment(connection, 'killed')
      await connection.commit()
    }),
  )
  const [error, waiter] = await Promise.all([caught(lost), caught(incrementOnce(stage))])
  const loss = claims.refused(error, ConnectionLostError, 'the holder is told that its transaction is gone')
  claims.check(
    loss?.commitOutcome === 'none' && loss.retrySafe,
    `with commitOutcome '${loss?.commitOutcome}' and retrySafe ${loss?.retrySafe}: it may simply do it again`,
  )
  claims.check(waiter === null, 'the task behind it was served by a new process, without an error')
  const stored = (await counters.stored()).killed
  claims.check(
    stored === counters.confirmed('killed'),
    `${count(stored)} increments are stored, as confirmed`,
  )
}
