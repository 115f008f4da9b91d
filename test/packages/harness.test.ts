/** The tests' own tools: the private server, the proxy, the leak check. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { toConninfo } from '../support/address.js'
import { startServer } from '../support/postgres.js'
import { startProxy, type Proxy } from '../support/proxy.js'
import { leakTest, openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()
const serverTest = leakTest()

/** A client whose way to the test's database leads through the proxy, and which ends quietly. */
async function connectThrough(proxy: Proxy): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client(
    toConninfo({ ...database.login, host: proxy.host, port: proxy.port }, database.name),
  )
  client.on('error', () => {})
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
}

/** What pg's types leave out. */
function internals(client: pg.Client): { readonly stream: Duplex } {
  return (client as unknown as { connection: { stream: Duplex } }).connection
}

serverTest('a private server crashes, restarts on the same port and keeps what was committed', async () => {
  await using server = await startServer({ conf: ['max_connections = 7'] })
  const client = new pg.Client(server.conninfo())
  const lost = once(client, 'error')
  client.on('error', () => {}) // it says so twice
  await client.connect()
  const { rows } = await client.query('SHOW max_connections')
  assert.deepEqual(rows, [{ max_connections: '7' }])
  await client.query('CREATE TABLE kept AS SELECT 42 AS answer')
  const before = { pid: server.pid, port: server.port }

  await server.restart('immediate')

  await within(lost, 'the client to notice')
  assert.notEqual(server.pid, before.pid)
  assert.equal(server.port, before.port)
  const again = new pg.Client(server.tcpConninfo())
  await again.connect()
  assert.deepEqual((await again.query('SELECT answer FROM kept')).rows, [{ answer: 42 }])
  await again.end()
  assert.match(await server.log(), /immediate shutdown request/)
})

serverTest('a stopped server refuses, and serves when it is started again', async () => {
  await using server = await startServer()
  await server.stop('fast')
  assert.equal(server.pid, null)
  await assert.rejects(new pg.Client(server.tcpConninfo()).connect(), { code: 'ECONNREFUSED' })
  await server.start()
  const client = new pg.Client(server.tcpConninfo())
  await client.connect()
  await client.end()
})

serverTest('a server whose configuration is wrong says why it did not start', async () => {
  await assert.rejects(startServer({ conf: ['no_such_thing = 1'] }), /did not start[^]*no_such_thing/)
})

serverTest('a server does not outlive the process that started it', async () => {
  const program = `
    const { startServer } = await import(${JSON.stringify(import.meta.resolve('../support/postgres.js'))})
    const server = await startServer()
    console.log(JSON.stringify({ pid: server.pid, folder: server.host }))
    process.kill(process.pid, 'SIGKILL')`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const { pid, folder } = JSON.parse(await text(child.stdout)) as { pid: number; folder: string }
  await until(() => !isAlive(pid), { what: 'the server to end' })
  await until(
    () =>
      access(folder).then(
        () => false,
        () => true,
      ),
    { what: 'its folder to go' },
  )
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test('a database of a test file sees and ends its clients, the observer left out', async () => {
  const client = new pg.Client(database.conninfo)
  const failed = once(client, 'error')
  client.on('error', () => {}) // it says so twice
  await client.connect()
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  assert.deepEqual(await database.admin.backends(), [rows[0]?.pid])
  await database.admin.terminate(rows[0]?.pid ?? 0)
  assert.deepEqual(await database.admin.backends(), [])
  await within(failed, 'the client to notice')
})

test('a proxy passes everything on and counts it', async () => {
  await using proxy = await startProxy(database.login)
  await using client = await connectThrough(proxy)
  const long = 'x'.repeat(1_000_000)
  const { rows } = await client.query('SELECT $1::text AS echo', [long])
  assert.deepEqual(rows, [{ echo: long }])
  assert.equal(proxy.accepted, 1)
  assert.equal(proxy.connections.length, 1)
  assert.ok(proxy.bytes.toServer > 1_000_000 && proxy.bytes.toClient > 1_000_000)
})

test('a recording names what went over the wire, and which of it went together', async () => {
  await using proxy = await startProxy(database.login)
  const recording = proxy.record()
  await using client = await connectThrough(proxy)
  assert.ok(recording.sent().includes('Startup'))
  recording.clear()
  await client.query('BEGIN')
  await client.query({ name: 'one', text: 'SELECT $1::int', values: [1] })
  await assert.rejects(client.query('SELECT 1/0'), { code: '22012' })
  assert.deepEqual(recording.sentTogether(), [
    ['Query BEGIN'],
    ['Parse one: SELECT $1::int', 'Bind one', 'Describe', 'Execute', 'Sync'],
    ['Query SELECT 1/0'],
  ])
  await until(() => recording.received().at(-1) === 'ReadyForQuery E', { what: 'the last answer' })
  assert.deepEqual(
    recording.dialogue().filter((line) => /CommandComplete|ReadyForQuery|ErrorResponse/.test(line)),
    [
      '< CommandComplete BEGIN',
      '< ReadyForQuery T',
      '< CommandComplete SELECT 1',
      '< ReadyForQuery T',
      '< ErrorResponse 22012',
      '< ReadyForQuery E',
    ],
  )
})

test('a message that arrives in pieces is still read as one', async () => {
  await using proxy = await startProxy(database.login)
  proxy.splitBytes = 1
  await using second = await startProxy(proxy)
  const recording = second.record()
  await using client = await connectThrough(second)
  recording.clear()
  assert.deepEqual((await client.query('SELECT 1 AS one')).rows, [{ one: 1 }])
  assert.deepEqual(recording.received().slice(0, 3), [
    'RowDescription',
    'DataRow',
    'CommandComplete SELECT 1',
  ])
})

test('a proxy delays each way', async () => {
  await using proxy = await startProxy(database.login)
  await using client = await connectThrough(proxy)
  proxy.delayMillis = 100
  const start = performance.now()
  await client.query('SELECT 1')
  assert.ok(performance.now() - start >= 200)
  proxy.delayMillis = 0
})

test('a proxy is deaf until it is resumed, and then loses nothing', async () => {
  await using proxy = await startProxy(database.login)
  await using client = await connectThrough(proxy)
  proxy.pause('toClient')
  const answer = client.query('SELECT 1 AS one')
  await assert.rejects(within(answer, 'an answer', 100), /waited 100 ms/)
  proxy.resume('toClient')
  assert.deepEqual((await answer).rows, [{ one: 1 }])
})

for (const how of ['reset', 'fin'] as const) {
  test(`a proxy cuts with a ${how}, and the server ends the backend`, async () => {
    await using proxy = await startProxy(database.login)
    await using client = await connectThrough(proxy)
    const failed = once(client, 'error') as Promise<[Error]>
    proxy.cut(how)
    const [error] = await within(failed, 'the client to notice')
    assert.equal((error as NodeJS.ErrnoException).code, how === 'reset' ? 'ECONNRESET' : undefined)
    await until(() => proxy.connections.length === 0, { what: 'the connection to go' })
  })
}

test('a proxy cuts at a byte: the server has the statement and the client no answer', async () => {
  await using proxy = await startProxy(database.login)
  await using client = await connectThrough(proxy)
  await client.query('CREATE TABLE cut (id int)')
  const { happened } = proxy.cutAfter({ direction: 'toClient', bytes: 0, how: 'reset' })
  await assert.rejects(client.query('INSERT INTO cut VALUES (1)'))
  await within(happened, 'the cut')
  assert.deepEqual(await database.admin.rows('SELECT * FROM cut'), [{ id: 1 }])
})

test('a proxy cuts at a byte: the server has part of a statement and does nothing', async () => {
  await using proxy = await startProxy(database.login)
  await using client = await connectThrough(proxy)
  const before = proxy.bytes.toServer
  const planned = proxy.cutAfter({ direction: 'toServer', bytes: 10 })
  await assert.rejects(client.query('CREATE TABLE never (id int)'))
  await within(planned.happened, 'the cut')
  assert.ok(proxy.bytes.toServer - before > 10)
  assert.deepEqual(await database.admin.rows("SELECT to_regclass('never') AS found"), [{ found: null }])
})

test('a proxy goes deaf at a byte, counted over all connections: neither side notices', async () => {
  await using proxy = await startProxy(database.login)
  await using first = await connectThrough(proxy)
  await using second = await connectThrough(proxy)
  const plan = proxy.cutAfter({ direction: 'toServer', bytes: 30, how: 'deaf', counting: 'all' })
  await first.query('SELECT 1') // 14 bytes
  const unanswered = second.query('SELECT 1 AS two').catch((error: Error) => error)
  await within(plan.happened, 'the fault')
  assert.equal(await Promise.race([unanswered, sleep(100, 'nothing')]), 'nothing')
  assert.equal((await database.admin.backends()).length, 2)
  await first.query('SELECT 1')
  // The server learns of it when the client has had enough.
  internals(second).stream.destroy()
  await until(async () => (await database.admin.backends()).length === 1, { what: 'the backend to go' })
  assert.ok((await unanswered) instanceof Error)
})

test('a proxy refuses newcomers and keeps those who are there', async () => {
  await using proxy = await startProxy(database.login)
  await using client = await connectThrough(proxy)
  proxy.refuse()
  await assert.rejects(connectThrough(proxy), { code: 'ECONNREFUSED' })
  await client.query('SELECT 1')
  await proxy.accept()
  await using second = await connectThrough(proxy)
  await second.query('SELECT 1')
})

test('a hook changes and swallows what passes', async () => {
  await using proxy = await startProxy(database.login)
  await using client = await connectThrough(proxy)
  proxy.onChunk = (direction, chunk) =>
    direction === 'toServer'
      ? Buffer.from(chunk.toString('latin1').replace('SELECT 1', 'SELECT 2'), 'latin1')
      : chunk
  assert.deepEqual((await client.query('SELECT 1 AS value')).rows, [{ value: 2 }])
  proxy.onChunk = () => null
  await assert.rejects(within(client.query('SELECT 1'), 'an answer', 100), /waited 100 ms/)
  proxy.cut('reset')
})

test('a test that leaves something behind fails and says what', async () => {
  const report = await runAlone('../support/fixtures/leaky.js')
  for (const expected of [
    /backend \d+ is left, idle, last statement: SELECT 'left here'/,
    /nobody handles this/,
    /warning: DeprecationWarning: this is discouraged/,
    /1 more Timeout than before the test/,
  ]) {
    assert.match(report, expected)
  }
  assert.match(report, /^# fail 4$/m)
  assert.match(report, /^# pass 2$/m)
})

/** Runs a test file outside of the runner which runs this one. */
async function runAlone(file: string): Promise<string> {
  const env = { ...process.env }
  delete env['NODE_TEST_CONTEXT']
  const args = ['--test-reporter=tap', fileURLToPath(import.meta.resolve(file))]
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'ignore'] })
  return within(text(child.stdout), `${file} to end`, 30_000)
}

test('a server of our own is all that the environment names, whatever a shell has in PG* variables', async () => {
  const own = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('PG') && name !== 'NODE_TEST_CONTEXT' && name !== 'CI',
  )
  const env = {
    ...Object.fromEntries(own),
    PGUSER: 'nobody_here',
    PGDATABASE: 'nowhere',
    PGPASSWORD: 'wrong',
    PGSSLMODE: 'require',
    PGOPTIONS: '-c default_transaction_read_only=on',
    PGCLIENTENCODING: 'LATIN1',
    PGTARGETSESSIONATTRS: 'standby',
    PGCONNECT_TIMEOUT: 'x',
  }
  const entry = fileURLToPath(new URL('../run.js', import.meta.url))
  const args = [entry, '--test-name-pattern=a Flush and the first statement go out in one piece', 'wire']
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'ignore'] })
  const report = await within(text(child.stdout), 'the run to end', 50_000)
  assert.match(report, /^ℹ pass 1$/m)
  assert.match(report, /^ℹ fail 0$/m)
})
