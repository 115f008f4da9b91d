/** Who holds the connection, who waits, and what runs: by the names that callers give themselves. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import {
  AcquireTimeoutError,
  HoldTimeoutError,
  type EndWaitingEvent,
  type HoldWarningEvent,
  type StatementEvent,
} from 'pg-managed-connection'
import { reason } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { openSuite } from '../support/suite.js'
import { until } from '../support/wait.js'

const { test, database } = await openSuite()

test('who waits in vain is told who holds the connection, and what the server runs for it', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const holding = manager.use(
    (connection) => connection.query('SELECT pg_sleep(0.4)').then(() => connection.rollback()),
    {
      label: 'import',
    },
  )
  await until(() => manager.stats.inFlight > 0, { what: 'the statement' })
  const waits = { label: 'report', timeoutMillis: 30 }
  const calls = [
    manager.use(() => {}, waits),
    manager.transaction(() => {}, waits),
    manager.acquire(waits),
    manager.batch(['SELECT 1'], waits),
  ]
  for (const error of (await Promise.all(calls.map(reason))) as AcquireTimeoutError[]) {
    assert.ok(error instanceof AcquireTimeoutError)
    assert.equal(error.label, 'report')
    assert.equal(error.holderLabel, 'import')
    assert.equal(error.statement, 'SELECT pg_sleep(0.4)')
    assert.match(
      error.message,
      /^"report" timed out after 30ms \(waiting=\d, held by "import" for \d+ms, running: SELECT pg_sleep\(0\.4\)\); if this task holds it itself, it waits for itself$/,
    )
  }
  await holding
})

test('a one-shot has a label of its own, in the error of its wait', async () => {
  await using manager = new ManagedConnection(database.conninfo, { acquireTimeoutMillis: 30 })
  await manager.connect() // which may take longer than the wait that is tried here
  const holding = manager.use(() => sleep(200), { label: 'import' })
  const error = (await reason(manager.query({ text: 'SELECT 1', label: 'look' }))) as AcquireTimeoutError
  assert.deepEqual([error.label, error.holderLabel], ['look', 'import'])
  await holding
})

test('stats tell who holds, what runs, how long the first in line has waited, and why there were rollbacks', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  const holding = manager.use((connection) => connection.query('SELECT pg_sleep(0.3)').then(() => {}), {
    label: 'import',
  })
  const waiting = manager.query('SELECT 1')
  await until(() => manager.stats.statement !== null && (manager.stats.longestWaitMillis ?? 0) >= 20, {
    what: 'the statement, and a wait',
  })
  const { holderLabel, statement, held } = manager.stats
  assert.deepEqual(
    { held, holderLabel, statement },
    { held: true, holderLabel: 'import', statement: 'SELECT pg_sleep(0.3)' },
  )
  await assert.rejects(holding)
  await waiting
  await until(() => manager.stats.rollbacks === 1, { what: 'the rollback' })
  const { rollbacksByReason, longestWaitMillis, connects, reconnects } = manager.stats
  assert.equal(rollbacksByReason.uncommitted, 1)
  assert.equal(
    Object.values(rollbacksByReason).reduce((sum, count) => sum + count, 0),
    1,
  )
  assert.equal(longestWaitMillis, null)
  assert.deepEqual([connects, reconnects], [1, 0])
  await manager.close()
  await manager.query('SELECT 1')
  await until(() => manager.stats.reconnects === 1, { what: 'the second connection' })
})

test('a late holder is told of by its label and with what it runs', { needs: ['own thread'] }, async () => {
  await using manager = new ManagedConnection(database.conninfo, {
    holdWarningMillis: 30,
    maxHoldMillis: 150,
  })
  const warnings: HoldWarningEvent[] = []
  const turns: unknown[] = []
  manager.on('holdWarning', (event) => warnings.push(event))
  manager.on('acquire', ({ label }) => turns.push(['acquire', label]))
  manager.on('release', ({ label }) => turns.push(['release', label]))
  manager.on('rollback', ({ label }) => turns.push(['rollback', label]))
  const error = (await reason(
    manager.use((connection) => connection.query('SELECT pg_sleep(5)'), { label: 'import' }),
  )) as HoldTimeoutError
  assert.ok(error instanceof HoldTimeoutError)
  assert.equal(error.label, 'import')
  assert.match(error.message, /^"import" took too long: /)
  await until(() => turns.length === 3, { what: 'the release' })
  assert.equal(warnings[0]!.label, 'import')
  assert.equal(warnings[0]!.statement, 'SELECT pg_sleep(5)')
  assert.deepEqual(turns.toSorted(), [
    ['acquire', 'import'],
    ['release', 'import'],
    ['rollback', 'import'],
  ])
})

test('a label is a string, and other things are refused', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const wrong = { label: 5 as never }
  await assert.rejects(
    manager.use(() => {}, wrong),
    /label must be a string/,
  )
  await assert.rejects(
    manager.transaction(() => {}, wrong),
    /label must be a string/,
  )
  await assert.rejects(manager.acquire(wrong), /label must be a string/)
  await assert.rejects(manager.batch(['SELECT 1'], wrong), /label must be a string/)
  await assert.rejects(manager.query({ text: 'SELECT 1', ...wrong }), /label must be a string/)
})

test(
  'each statement is told of with its time, its rows and its failure',
  { needs: ['own thread'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const events: StatementEvent[] = []
    manager.on('statement', (event) => events.push(event))
    await manager.query({ text: 'SELECT generate_series(1, $1::int)', values: [3], label: 'count' })
    await assert.rejects(manager.query('SELECT 1 / 0'))
    await manager.batch(['SELECT 1', 'SELECT generate_series(1, 2)'], { label: 'both' })
    await manager.transaction((connection) => connection.query('SELECT pg_sleep(0.05)'), { label: 'slow' })
    const told = events.map(({ label, text, rowCount, error }) => [
      label,
      text,
      rowCount,
      (error as { code?: string } | null)?.code ?? null,
    ])
    assert.deepEqual(told, [
      ['count', 'SELECT generate_series(1, $1::int)', 3, null],
      [null, 'SELECT 1 / 0', null, '22012'],
      ['both', 'SELECT 1; SELECT generate_series(1, 2)', 3, null],
      ['slow', 'SELECT pg_sleep(0.05)', 1, null],
    ])
    assert.ok(events.at(-1)!.millis >= 45)
  },
)

test('end() tells within a second whom it waits for', { needs: ['own thread'] }, async () => {
  const manager = new ManagedConnection(database.conninfo)
  const told: EndWaitingEvent[] = []
  manager.on('endWaiting', (event) => told.push(event))
  const connection = await manager.acquire({ label: 'forgotten' })
  const query = connection.query('SELECT pg_sleep(1.2)')
  const ended = manager.end()
  await query
  await connection.rollback()
  await connection.release()
  await ended
  assert.equal(told.length, 1)
  const [{ label, heldMillis, statement, waiting, millis }] = told as [EndWaitingEvent]
  assert.deepEqual(
    { label, statement, waiting },
    { label: 'forgotten', statement: 'SELECT pg_sleep(1.2)', waiting: 0 },
  )
  assert.ok(heldMillis! >= 990 && millis === 1_000)
})

/** What a process writes, whose `end()` waits for a holder that takes its time. */
async function endSlowly(options: string): Promise<{ stdout: string; stderr: string }> {
  const program = `
    import { ManagedConnection } from 'pg-managed-connection'
    const manager = new ManagedConnection(process.argv[1], ${options})
    const connection = await manager.acquire({ label: 'forgotten' })
    const ended = manager.end()
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    await connection.release()
    await ended`
  const args = ['--input-type=module', '-e', program, database.conninfo]
  return promisify(execFile)(process.execPath, args)
}

const END_WAITING =
  /end\(\) has waited for 1000ms: "forgotten" has held the connection for \d+ms; 0 wait in line/

test('where nobody listens it is a warning of the process', { needs: ['own thread'] }, async () => {
  const { stderr } = await endSlowly('{}')
  assert.match(stderr, new RegExp(`ManagedConnectionWarning: ${END_WAITING.source}`))
})

test('a logger is told of it instead', { needs: ['own thread'] }, async () => {
  const { stdout, stderr } = await endSlowly('{ logger: { ...console, warn: console.log } }')
  assert.match(stdout, END_WAITING)
  assert.equal(stderr, '')
})

test('an end that waits for nobody says nothing', { needs: ['own thread'] }, async () => {
  const manager = new ManagedConnection(database.conninfo)
  let told = 0
  manager.on('endWaiting', () => told++)
  await manager.query('SELECT 1')
  await manager.end()
  await sleep(1_100)
  assert.equal(told, 0)
})
