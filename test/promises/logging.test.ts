/** What a manager writes into a log. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectError, ManagedConnection, type Logger } from 'pg-managed-connection'
import { openSuite } from '../support/suite.js'
import { until } from '../support/wait.js'

const { test, database } = await openSuite()

function collect(): { logger: Logger; lines: string[] } {
  const lines: string[] = []
  const at = (level: string) => (message: string) => void lines.push(`${level} ${message}`)
  return { logger: { debug: at('debug'), info: at('info'), warn: at('warn') }, lines }
}

test('connecting, closing, losing, forced rollbacks and late holders are logged, each at its level', async () => {
  const { logger, lines } = collect()
  await using manager = new ManagedConnection(database.conninfo, { logger, holdWarningMillis: 30 })
  await manager.query('SELECT 1')
  await manager.close()
  await assert.rejects(manager.use((connection) => connection.query('SELECT 1'), { label: 'forgetful' }))
  const failing = manager.transaction((connection) => connection.query('SELECT 1 / 0'), { label: 'told' })
  await assert.rejects(failing)
  await manager.use(() => sleep(60), { label: 'late' })
  await database.admin.terminate(manager.stats.processID!)
  await until(() => manager.closed, { what: 'the loss' })
  const shown = lines.map((line) => line.replaceAll(/\d+/g, '#').replace(/at:\n[^]*/, 'at: …'))
  assert.deepEqual(shown, [
    'debug pg-managed-connection: connected to server process # in #ms',
    'info pg-managed-connection: the connection was closed',
    'info pg-managed-connection: connected again to server process # in #ms',
    'warn pg-managed-connection: rolled back for "forgetful" (uncommitted); opened by: SELECT #',
    'debug pg-managed-connection: rolled back for "told" (error); opened by: SELECT # / #',
    'warn pg-managed-connection: "late" has held the connection for #ms; acquired at: …',
    'warn pg-managed-connection: "late" returned the connection after #ms',
    'info pg-managed-connection: the connection was lost: terminating connection due to administrator command',
  ])
})

test('an opening that fails is told of and logged once, however many wait for it, and without a password', async () => {
  const { logger, lines } = collect()
  const conninfo = 'postgresql://ada:open-sesame@127.0.0.1:1/bank'
  await using manager = new ManagedConnection(conninfo, { logger })
  const told: Error[] = []
  manager.on('connectError', (error) => told.push(error))
  const asked = [manager.query('SELECT 1'), manager.use(() => {}), manager.acquire()]
  const answers = await Promise.allSettled(asked)
  assert.deepEqual(
    answers.map(({ status }) => status),
    ['rejected', 'rejected', 'rejected'],
  )
  assert.ok(told.length === 1 && told[0] instanceof ConnectError)
  assert.deepEqual(lines, [
    `warn pg-managed-connection: the connection could not be opened: ${told[0].message}`,
  ])
  assert.match(told[0].message, /port 1 failed: Connection refused/)
  assert.doesNotMatch(lines[0]!, /sesame/)
})

test('an opening that nobody waits for any more is told to nobody', async () => {
  const { logger, lines } = collect()
  await using manager = new ManagedConnection(database.conninfo, { logger })
  const signal = AbortSignal.abort()
  await assert.rejects(manager.query({ text: 'SELECT 1', signal }))
  const abort = new AbortController()
  const asked = manager.query({ text: 'SELECT 1', signal: abort.signal })
  abort.abort()
  await assert.rejects(asked)
  await manager.end()
  assert.deepEqual(lines, [])
})

test('a log holds no values, and no password', async () => {
  const { logger, lines } = collect()
  const secret = 'open sesame'
  const conninfo = `${database.conninfo}&password=${encodeURIComponent(secret)}`
  await using manager = new ManagedConnection(conninfo, { logger, traceValues: true })
  await assert.rejects(manager.use((connection) => connection.query('SELECT $1::text', [secret])))
  assert.equal(lines.filter((line) => line.includes('sesame')).length, 0)
  assert.ok(lines.length >= 2)
})

test('a logger that throws disturbs nobody, and its error comes to light', async () => {
  const child = `
    import { ManagedConnection } from 'pg-managed-connection'
    process.once('uncaughtException', (error) => console.log('caught', error.message))
    const logger = { debug() { throw new Error('disk full') }, info() {}, warn() {} }
    const manager = new ManagedConnection(process.argv[1], { logger })
    console.log((await manager.query('SELECT 1 AS one')).rows)
    await manager.end()`
  const { stdout } = await run(child)
  assert.match(stdout, /caught disk full/)
  assert.match(stdout, /one: 1/)
})

test('NODE_DEBUG writes the same to stderr', async () => {
  const child = `
    import { ManagedConnection } from 'pg-managed-connection'
    const manager = new ManagedConnection(process.argv[1])
    await manager.query('SELECT 1')
    await manager.end()`
  const { stderr } = await run(child, { NODE_DEBUG: 'pg-managed-connection' })
  assert.match(stderr, /PG-MANAGED-CONNECTION \d+: connected to server process \d+/)
  assert.match(stderr, /the connection was closed/)
  const quiet = await run(child)
  assert.equal(quiet.stderr, '')
})

test('a logger without a level is refused', () => {
  assert.throws(
    () =>
      new ManagedConnection(database.conninfo, {
        logger: { info: () => {}, warn: () => {} } as unknown as Logger,
      }),
    /logger must have the methods debug, info and warn, as console has, but debug is missing/,
  )
})

function run(program: string, env: NodeJS.ProcessEnv = {}): Promise<{ stdout: string; stderr: string }> {
  const args = ['--input-type=module', '-e', program, database.conninfo]
  return promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } })
}
