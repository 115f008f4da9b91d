/** A function that gives the conninfo: it is asked at each opening, so that users and passwords may change. */
import assert from 'node:assert/strict'
import { after } from 'node:test'
import { inspect } from 'node:util'
import pg from 'pg'
import {
  AcquireTimeoutError,
  ConnectError,
  ConninfoError,
  ManagedConnection,
  type ConninfoSource,
} from 'pg-managed-connection'
import { attach, share } from 'pg-managed-connection/worker'
import { asPool } from 'pg-managed-connection/pool'
import { caught } from '../support/caught.js'
import { startServer } from '../support/postgres.js'
import { leakTest } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const test = leakTest()
const HBA = 'local all postgres trust\nlocal all all scram-sha-256'
const server = await startServer({ hba: HBA })
after(() => server[Symbol.asyncDispose]())

async function asAdmin(text: string): Promise<void> {
  const client = new pg.Client(server.conninfo())
  await client.connect()
  await client.query(text)
  await client.end()
}

await asAdmin("CREATE ROLE first LOGIN PASSWORD 'one'; CREATE ROLE second LOGIN PASSWORD 'two'")

function login(user: string, password: string) {
  return { host: server.host, port: server.port, user, password, database: 'postgres' }
}

async function whoAmI(manager: ManagedConnection): Promise<string> {
  return (await manager.query<{ who: string }>('SELECT current_user AS who')).rows[0]!.who
}

test('it is asked at each opening, and may take its time', async () => {
  const given = [
    login('first', 'one'),
    `host=${server.host} port=${server.port} user=second password=two dbname=postgres`,
  ]
  let asked = 0
  await using manager = new ManagedConnection(async () => {
    await new Promise((resolve) => setTimeout(resolve, 20))
    return given[asked++]
  })
  assert.equal(asked, 0)
  assert.deepEqual(await Promise.all([whoAmI(manager), whoAmI(manager)]), ['first', 'first'])
  await manager.close()
  assert.equal(await whoAmI(manager), 'second')
  assert.equal(asked, 2)
})

test('a password that has changed is asked for when the connection is lost', async () => {
  let password = 'one'
  await using manager = new ManagedConnection(() => login('first', password))
  await whoAmI(manager)
  await asAdmin("ALTER ROLE first PASSWORD 'uno'")
  password = 'uno'
  await asAdmin(`SELECT pg_terminate_backend(${manager.stats.processID})`)
  await until(() => manager.closed, { what: 'the loss' })
  assert.equal(await whoAmI(manager), 'first')
  assert.equal(manager.stats.connects, 2)
  await asAdmin("ALTER ROLE first PASSWORD 'one'")
})

test('where it throws, or gives what is no conninfo, the opening fails and tells why; the next one asks again', async () => {
  const failure = new Error('the vault is sealed')
  const wrong: (() => unknown)[] = [
    () => {
      throw failure
    },
    () => Promise.reject(failure),
    () => 'nonsense=1',
    () => 42,
    () => undefined,
    () => ({ ...login('first', 'one'), query_timeout: 5 }),
  ]
  let asked = 0
  await using manager = new ManagedConnection((() => {
    const next = wrong[asked++]
    return next === undefined ? login('first', 'one') : next()
  }) as ConninfoSource)
  for (const [index] of wrong.entries()) {
    const error = await caught(manager.query('SELECT 1'), ConnectError)
    if (index < 2) assert.equal(error.cause, failure)
    else assert.ok(error.cause instanceof ConninfoError, String(error.cause))
    assert.equal(manager.closed, true)
  }
  assert.equal(await whoAmI(manager), 'first')
})

test('one that never answers keeps nobody longer than they wait', async () => {
  let answer = (_given: ConninfoSource): void => {}
  let asked = 0
  await using manager = new ManagedConnection(() => {
    asked++
    return new Promise<never>((resolve) => (answer = resolve as never))
  })
  await caught(
    within(
      manager.use(() => {}, { timeoutMillis: 30 }),
      'the first',
    ),
    AcquireTimeoutError,
  )
  const second = whoAmI(manager)
  await within(new Promise<void>((resolve) => setImmediate(resolve)), 'a turn of the loop')
  answer(login('first', 'one'))
  assert.equal(await within(second, 'the second'), 'first')
  assert.equal(asked, 2)
})

test('one that never answers when the connection was lost is waited for as long as a server is', async () => {
  let asked = 0
  await using manager = new ManagedConnection(
    () => (asked++ === 0 ? login('first', 'one') : new Promise<never>(() => {})),
    { reconnectTimeoutMillis: 60 },
  )
  await whoAmI(manager)
  await manager.close()
  await caught(within(whoAmI(manager), 'the second'), ConnectError)
})

test('no password of it is shown, and before it is asked nothing is known', async () => {
  await using manager = new ManagedConnection(() => login('first', 'one'))
  assert.match(String(manager), /asked for at each opening/)
  const pool = asPool(manager)
  assert.equal(pool.options.host, 'unknown')
  await whoAmI(manager)
  assert.equal(pool.options.host, server.host)
  assert.equal(pool.options.user, 'first')
  await using worker = attach(share(manager))
  assert.equal((await worker.query('SELECT 1 AS one')).rows[0].one, 1)
  assert.doesNotMatch(inspect(manager, { depth: 9, showHidden: true }), /'one'|password/i)
  await pool.end()
})
