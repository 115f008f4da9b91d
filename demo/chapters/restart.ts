/** The server goes down in the middle of the work and comes back. */
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectionLostError, ManagedConnectionError } from 'pg-managed-connection'
import { quoteError } from '../claims.js'
import { increment } from '../counters.js'
import { Progress } from '../progress.js'
import { count, heading, say, write } from '../screen.js'
import type { Stage } from '../stage.js'

const TASKS = 300
/** How long each task thinks inside its transaction, so that there is a middle to go down in. */
const THINK_MILLIS = 2
const RESTART_AFTER = 100

export async function rideOutRestart(stage: Stage): Promise<void> {
  const { manager, claims, counters } = stage
  heading('A server restart')
  say(
    `${TASKS} tasks are at work when the server goes down as in a crash; then it is started again. Each leaves a ` +
      'receipt in its transaction, so that it can look whether it was saved, should nobody be able to say.',
  )
  write()
  const losses: Error[] = []
  const gap = watchGap(stage)
  {
    using progress = new Progress('increments', TASKS)
    const work = Promise.all(
      Array.from({ length: TASKS }, async (_, task) => {
        losses.push(...(await incrementAtLast(stage, task)))
        counters.confirm('restart')
        progress.tick()
      }),
    )
    await Promise.all([work, restartAmid(stage, progress)])
  }
  for (const loss of losses) quoteError(loss)
  const inTheMiddle = losses.length
  say(
    `${inTheMiddle} of ${TASKS} tasks were in the middle of it and did theirs again; the others waited in line. ` +
      `The manager was without a connection for ${count(gap.millis())} ms.`,
  )
  claims.check(
    gap.millis() > 0,
    `the manager connected again by itself, to process ${manager.stats.processID}`,
  )
  claims.check(inTheMiddle <= 2, 'no task failed but those whose transaction was cut')
  claims.check(
    (await counters.stored()).restart === TASKS,
    `each of the ${TASKS} increments is stored exactly once`,
  )
}

async function restartAmid({ server }: Stage, progress: Progress): Promise<void> {
  while (progress.done < RESTART_AFTER && !progress.over) await sleep(5)
  progress.note('(the server is down)')
  await server.restart('immediate')
  progress.note('(the server is back)')
}

/** Tries until it is known to be saved. Returns what went wrong on the way. */
async function incrementAtLast(stage: Stage, task: number): Promise<ManagedConnectionError[]> {
  const losses: ManagedConnectionError[] = []
  for (;;) {
    try {
      await incrementWithReceipt(stage, task)
      return losses
    } catch (error) {
      if (!(error instanceof ManagedConnectionError)) throw error
      losses.push(error)
      if (error.retrySafe) continue
      if (!(error instanceof ConnectionLostError)) throw error
      if (await hasReceipt(stage, task)) return losses
    }
  }
}

async function incrementWithReceipt({ manager, occupancy }: Stage, task: number): Promise<void> {
  await manager.transaction((connection) =>
    occupancy.during(async () => {
      await connection.query('INSERT INTO receipt VALUES ($1)', [task])
      await sleep(THINK_MILLIS)
      await increment(connection, 'restart')
    }),
  )
}

/** Asked through the manager: it waits until the server is back. */
async function hasReceipt({ manager }: Stage, task: number): Promise<boolean> {
  return (await manager.query('SELECT FROM receipt WHERE task = $1', [task])).rowCount === 1
}

/** For how long there was no connection. */
function watchGap({ manager }: Stage): { millis: () => number } {
  let lostAt = 0
  let backAt = 0
  manager.once('disconnect', () => {
    lostAt = performance.now()
    manager.once('connect', () => {
      backAt = performance.now()
    })
  })
  return { millis: () => Math.max(0, backAt - lostAt) }
}
