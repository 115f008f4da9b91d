/** Who gives up waits for nobody, and costs nobody else anything: limits, releases and ends behind others' statements. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { HoldTimeoutError, StatementTimeoutError } from 'pg-managed-connection'
import { reason as rejectionOf } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database

await admin.query(`
  CREATE TABLE slow_commits (id int);
  CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$;
  CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON slow_commits
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle();
`)

/** Shorter than what the others' statements and COMMITs take. */
const GRACE_MILLIS = 300

async function open(
  options: ConstructorParameters<typeof ManagedConnection>[1] = {},
): Promise<ManagedConnection> {
  const manager = new ManagedConnection(database.conninfo, { releaseGraceMillis: GRACE_MILLIS, ...options })
  await manager.query('SELECT')
  return manager
}

async function runningOn(processID: number | null): Promise<string[]> {
  const rows = await admin.rows<{ query: string }>(
    `SELECT query FROM pg_stat_activity WHERE pid = ${processID} AND state = 'active'`,
  )
  return rows.map(({ query }) => query)
}

test('a one-shot whose limit ends behind another’s long one is rejected, and the long one is answered', async () => {
  await using manager = await open()
  const { processID } = manager.stats
  const long = manager.query('SELECT pg_sleep(1.5), 1 AS one')
  const short = manager.query({ text: 'SELECT 2', timeoutMillis: 100 })
  const behind = manager.query('SELECT 3 AS three')
  assert.ok((await rejectionOf(short)) instanceof StatementTimeoutError)
  assert.equal((await long).rows[0].one, 1)
  assert.equal((await behind).rows[0].three, 3)
  assert.equal(manager.stats.processID, processID)
})

for (const [how, leave] of Object.entries({
  'a statement’s limit': async (manager: ManagedConnection) => {
    const error = await rejectionOf(
      manager.transaction((connection) => connection.query({ text: 'SELECT 1', timeoutMillis: 100 })),
    )
    assert.ok(error instanceof StatementTimeoutError, String(error))
  },
  'an error, with a statement in flight': async (manager: ManagedConnection) => {
    const mine = new Error('mine')
    const error = await rejectionOf(
      manager.transaction((connection) => {
        connection.query('SELECT 1').catch(() => {})
        throw mine
      }),
    )
    assert.equal(error, mine)
  },
  'Promise.race': async (manager: ManagedConnection) => {
    await rejectionOf(
      manager.use(async (connection) => {
        await Promise.race([connection.query('SELECT 1'), sleep(50)])
      }),
    )
  },
})) {
  test(`a slow COMMIT is confirmed, although the next holder leaves by ${how}`, async () => {
    await using manager = await open()
    const { processID } = manager.stats
    const committed = manager.transaction((connection) =>
      connection.query('INSERT INTO slow_commits VALUES (1)'),
    )
    const left = leave(manager)
    await committed
    await left
    await manager.query('SELECT')
    assert.equal(manager.stats.processID, processID)
  })
}

test('a turn that is taken back has all that it runs cancelled, limits of its own or not, and the session stays', async () => {
  for (const second of ['SELECT 1', { text: 'SELECT 1', timeoutMillis: 50 }, 'SELECT pg_sleep(20)']) {
    await using manager = await open({ maxHoldMillis: 300, releaseGraceMillis: 5_000 })
    const { processID } = manager.stats
    const held = manager.use(async (connection) => {
      const running = connection.query('SELECT pg_sleep(20)').catch(() => {})
      await Promise.all([running, connection.query(second).catch(() => {})])
      await sleep(20_000, undefined, { ref: false })
    })
    assert.ok((await rejectionOf(held)) instanceof HoldTimeoutError)
    await within(manager.query('SELECT'), 'the next to be served', 4_000)
    assert.equal(manager.stats.processID, processID)
    assert.deepEqual(await runningOn(processID), [])
  }
})

test('statements of one holder with limits that all end at once are cancelled one behind the other', async () => {
  await using manager = await open({ releaseGraceMillis: 5_000 })
  const { processID } = manager.stats
  await manager.use(
    async (connection) => {
      const statements = Array.from({ length: 4 }, () =>
        rejectionOf(connection.query({ text: 'SELECT pg_sleep(20)', timeoutMillis: 100 })),
      )
      for (const error of await Promise.all(statements)) assert.ok(error instanceof StatementTimeoutError)
    },
    { autocommit: true },
  )
  await within(manager.query('SELECT'), 'the next to be served', 4_000)
  assert.equal(manager.stats.processID, processID)
})

test('what a holder leaves running past its grace is cancelled on the server', async () => {
  await using manager = await open()
  const { processID } = manager.stats
  const error = await rejectionOf(
    manager.use(async (connection) => {
      connection.query('SELECT pg_sleep(20)').catch(() => {})
      await Promise.resolve()
    }),
  )
  assert.equal((error as { code?: string }).code, 'ERR_UNFINISHED_STATEMENT')
  await until(async () => (await runningOn(processID)).length === 0, { what: 'nothing to run any more' })
})

test('end() cancels what it gives up', { needs: ['own thread'] }, async () => {
  const manager = await open()
  const { processID } = manager.stats
  const running = rejectionOf(manager.query('SELECT pg_sleep(20)'))
  await manager.end({ timeoutMillis: 200 })
  assert.equal(((await running) as { code?: string }).code, 'ERR_CONNECTION_LOST')
  await until(async () => (await runningOn(processID)).length === 0, { what: 'nothing to run any more' })
})

test('end() gives up a COMMIT without cancelling it: it is stored', async () => {
  const manager = await open()
  await admin.query('TRUNCATE slow_commits')
  const committed = rejectionOf(
    manager.transaction((connection) => connection.query('INSERT INTO slow_commits VALUES (2)')),
  )
  await sleep(300)
  await manager.end({ timeoutMillis: 100 })
  assert.equal(((await committed) as { commitOutcome?: string }).commitOutcome, 'unknown')
  const stored = async (): Promise<boolean> =>
    (await admin.rows('SELECT 1 AS one FROM slow_commits')).length === 1
  await until(stored, { what: 'the row to be stored' })
})
