/** What a task can do wrong, and what becomes of it. */
import { CommitRolledBackError, UncommittedTransactionError, type Connection } from 'pg-managed-connection'
import { caught } from '../claims.js'
import { increment } from '../counters.js'
import { heading, say } from '../screen.js'
import type { Stage } from '../stage.js'

export async function forgetCommit(stage: Stage): Promise<void> {
  const { manager, claims, occupancy } = stage
  heading('A forgotten commit')
  say('A task increments the row and returns. Nobody called commit().')
  const forgotten = manager.use((connection) =>
    occupancy.during(async () => {
      await increment(connection, 'mistakes')
    }),
  )
  claims.refused(
    await caught(forgotten),
    UncommittedTransactionError,
    'its caller is told which statement opened it',
  )
  await checkNothingLeaked(stage)
}

export async function throwError(stage: Stage): Promise<void> {
  const { manager, claims, occupancy } = stage
  heading('A thrown error')
  say('A task increments the row and then fails for a reason of its own.')
  const reason = new RangeError('the cat is on the keyboard')
  const failed = manager.use((connection) =>
    occupancy.during(async () => {
      await increment(connection, 'mistakes')
      throw reason
    }),
  )
  const error = claims.refused(await caught(failed), RangeError, 'its caller gets an error of the same kind')
  claims.check(error === reason, 'it is the very same object, and nothing was wrapped around it')
  await checkNothingLeaked(stage)
}

export async function swallowError(stage: Stage): Promise<void> {
  const { manager, claims, occupancy } = stage
  heading('A swallowed SQL error')
  say(
    'In a transaction() a statement fails, and the task catches the error and goes on as if nothing had happened. ' +
      'The server answers its COMMIT with ROLLBACK, which is not an error to most clients.',
  )
  const swallowed = manager.transaction((connection) =>
    occupancy.during(async () => {
      await increment(connection, 'mistakes')
      await connection.query('SELECT 1 / 0').catch(() => {})
    }),
  )
  const error = claims.refused(await caught(swallowed), CommitRolledBackError, 'nobody is told "saved"')
  claims.check(error?.retrySafe === true, 'it says that doing it again is safe')
  await checkNothingLeaked(stage)
}

/** The increment is not stored, and the next task finds the connection as if nothing had happened. */
async function checkNothingLeaked({ manager, claims, counters, occupancy }: Stage): Promise<void> {
  const pid = manager.stats.processID
  const found = await manager.use((connection) => occupancy.during(() => lookAround(connection)), {
    autocommit: true,
  })
  claims.check((await counters.stored()).mistakes === 0, 'the increment was rolled back')
  claims.check(
    found.transaction === null && found.pid === pid,
    'the next task has the same backend and no open transaction',
  )
}

/** A transaction that has written has a number; without one the server has none to tell. */
async function lookAround(
  connection: Connection,
): Promise<{ transaction: string | null; pid: number | null }> {
  const { rows } = await connection.query<{ id: string | null }>(
    'SELECT pg_current_xact_id_if_assigned() AS id',
  )
  return { transaction: rows[0]!.id, pid: connection.processID }
}
