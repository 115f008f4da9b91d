/** Commits that wait for the disk or a standby: what is confirmed has to last, whoever dies in between. */
import assert from 'node:assert/strict'
import { ManagedConnection, type ManagedConnectionOptions, type VerifyCommit } from 'pg-managed-connection'
import { outcome } from '../support/caught.js'
import { REPLICATION_HBA, startStandby } from '../support/conninfo/standby.js'
import { loseCommit } from '../support/lost-commit.js'
import { startProxy } from '../support/proxy.js'
import { startServer, type PostgresServer } from '../support/postgres.js'
import { leakTest } from '../support/suite.js'
import { until, within } from '../support/wait.js'
import pg from 'pg'

const test = leakTest({ resources: false })

/** A server that writes to its disk when it is asked to and not before, and nobody's COMMIT goes along with another's. */
const LAZY = [
  'wal_writer_delay = 10s',
  'wal_writer_flush_after = 1GB',
  'autovacuum = off',
  'checkpoint_timeout = 1h',
]

async function connect(server: PostgresServer): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: server.conninfo() })
  client.on('error', () => {})
  await client.connect()
  return client
}

async function ids(server: PostgresServer): Promise<number[]> {
  const client = await connect(server)
  const { rows } = await client.query<{ id: number }>('SELECT id FROM payment ORDER BY id')
  await client.end()
  return rows.map(({ id }) => id)
}

/** Pays with many tasks until the server is stopped as in a crash. Gives what was confirmed. */
async function payUntilCrash(server: PostgresServer, options: ManagedConnectionOptions): Promise<number[]> {
  const manager = new ManagedConnection(server.conninfo(), { ...options, reconnectTimeoutMillis: 1 })
  await manager.query('CREATE TABLE IF NOT EXISTS payment (id int)')
  const confirmed: number[] = []
  let next = 0
  let isOver = false
  const task = async (): Promise<void> => {
    while (!isOver) {
      const id = next++
      const paid = await outcome(
        manager.transaction((connection) => connection.query('INSERT INTO payment VALUES ($1)', [id])),
      )
      if (paid.status === 'fulfilled') confirmed.push(id)
    }
  }
  const tasks = Array.from({ length: 16 }, task)
  await until(() => confirmed.length > 500, { what: '500 payments', timeoutMillis: 30_000 })
  await server.stop('immediate')
  isOver = true
  await Promise.all(tasks)
  await manager.end({ timeoutMillis: 1 })
  return confirmed
}

test('what was committed together and confirmed is there after a crash', async () => {
  await using server = await startServer({ conf: LAZY })
  const confirmed = await payUntilCrash(server, { groupCommit: true })
  await server.start()
  const stored = new Set(await ids(server))
  const missing = confirmed.filter((id) => !stored.has(id))
  assert.deepEqual(missing, [])
})

test('the crash is one that loses what was not flushed, or the test above would prove nothing', async () => {
  await using server = await startServer({ conf: [...LAZY, 'synchronous_commit = off'] })
  const confirmed = await payUntilCrash(server, {})
  await server.start()
  const client = await connect(server)
  const exists = await client.query("SELECT to_regclass('payment') AS there")
  await client.end()
  const stored = new Set(exists.rows[0].there === null ? [] : await ids(server))
  assert.notDeepEqual(
    confirmed.filter((id) => !stored.has(id)),
    [],
  )
})

/** Each COMMIT waits for a standby that does not exist, until it is allowed not to. */
async function startWaiting(): Promise<
  { server: PostgresServer; admin: pg.Client; release(): Promise<void> } & AsyncDisposable
> {
  const server = await startServer()
  const admin = await connect(server)
  await admin.query('CREATE TABLE payment (id int)')
  await admin.query("ALTER SYSTEM SET synchronous_standby_names TO 'nobody'")
  await admin.query('SELECT pg_reload_conf()')
  const release = async (): Promise<void> => {
    await admin.query("ALTER SYSTEM SET synchronous_standby_names TO ''")
    await admin.query('SELECT pg_reload_conf()')
  }
  const dispose = async (): Promise<void> => {
    await admin.end()
    await server[Symbol.asyncDispose]()
  }
  return { server, admin, release, [Symbol.asyncDispose]: dispose }
}

/** A session that waits for the standby. */
interface Waiter {
  readonly pid: number
  /** When its statement began. */
  readonly since: string
}

/** Waits for one whose statement has this in it and, where another went before, is a later one. */
async function waitsForStandby(admin: pg.Client, text: string, before?: Waiter): Promise<Waiter> {
  return until(
    async () => {
      const { rows } = await admin.query<Waiter>(
        `SELECT pid, query_start::text AS since FROM pg_stat_activity
         WHERE wait_event = 'SyncRep' AND query LIKE $1 AND query_start > $2::timestamptz`,
        [`%${text}%`, before?.since ?? '-infinity'],
      )
      return rows[0]
    },
    { what: `${text} to wait for the standby` },
  )
}

test('a flush whose wait for the standby is cancelled has promised nothing: another one does', async () => {
  await using waiting = await startWaiting()
  const { server, admin, release } = waiting
  await using manager = new ManagedConnection(server.conninfo(), { groupCommit: true })
  await manager.query('SET client_min_messages TO error')
  let done = false
  const paid = manager
    .transaction((connection) => connection.query('INSERT INTO payment VALUES (1)'))
    .then(() => (done = true))
  let waiter: Waiter | undefined
  for (let time = 0; time < 3; time++) {
    waiter = await waitsForStandby(admin, 'pg_logical_emit_message', waiter)
    assert.equal(done, false)
    if (time < 2) await admin.query('SELECT pg_cancel_backend($1)', [waiter.pid])
  }
  assert.equal(done, false)
  await release()
  await within(paid, 'the payment')
})

for (const verifyCommit of ['by its id', 'by a receipt'] as const) {
  test(`a COMMIT that hung in a standby and was terminated is committed here alone: ${verifyCommit}, it is confirmed once it has reached the standby`, async () => {
    await using waiting = await startWaiting()
    const { server, admin, release } = waiting
    await admin.query('SET synchronous_commit = off')
    await admin.query('CREATE TABLE receipts (id uuid PRIMARY KEY)')
    await admin.query('ALTER ROLE postgres SET synchronous_commit TO off')
    await using manager = new ManagedConnection(server.conninfo(), {
      verifyCommit: verifyCommit === 'by its id' ? true : { table: 'receipts' },
      // The flush is one of the session as this leaves it, and hears of its warnings all the same.
      onConnect: (client) => client.query('SET synchronous_commit TO on; SET client_min_messages TO error'),
    })
    let done = false
    const paid = manager
      .transaction((connection) => connection.query('INSERT INTO payment VALUES (2)'))
      .then(() => (done = true))
    const committing = await waitsForStandby(admin, 'COMMIT')
    await admin.query('SELECT pg_terminate_backend($1)', [committing.pid])
    // Who cancels the wait has confirmed nothing.
    const flushing = await waitsForStandby(admin, 'pg_logical_emit_message')
    await admin.query('SELECT pg_cancel_backend($1)', [flushing.pid])
    await waitsForStandby(admin, 'pg_logical_emit_message', flushing)
    assert.deepEqual((await admin.query('SELECT id FROM payment')).rows, [{ id: 2 }])
    assert.equal(done, false)
    await release()
    await within(paid, 'the payment')
    assert.equal(manager.stats.verifiedCommitted, 1)
  })
}

test('a crash in between makes an id worthless, and a receipt not', async () => {
  for (const verifyCommit of [true, { table: 'receipts' }]) {
    await using waiting = await startWaiting()
    const { server, admin } = waiting
    await admin.query('SET synchronous_commit = off')
    await admin.query('CREATE TABLE receipts (id uuid PRIMARY KEY)')
    await using manager = new ManagedConnection(server.conninfo(), {
      verifyCommit,
      reconnectTimeoutMillis: 20_000,
    })
    const paid = outcome(
      manager.transaction((connection) => connection.query('INSERT INTO payment VALUES (3)')),
    )
    await waitsForStandby(admin, 'COMMIT')
    await admin.query("ALTER SYSTEM SET synchronous_standby_names TO ''")
    await server.stop('immediate')
    await server.start()
    const settled = await within(paid, 'the payment', 30_000)
    const isStored = (await ids(server)).includes(3)
    if (verifyCommit === true) {
      assert.equal(isStored, true)
      assert.equal(settled.status, 'rejected')
      const { commitOutcome, verification } = (settled as PromiseRejectedResult).reason
      assert.equal(commitOutcome, 'unknown')
      assert.match(verification, /crash/)
    } else assert.equal(settled.status === 'fulfilled', isStored)
  }
})

for (const verifyCommit of [true, { table: 'receipts' }]) {
  test(`another cluster that answers knows nothing: ${JSON.stringify(verifyCommit)}`, async () => {
    await using waiting = await startWaiting()
    await using other = await startServer()
    const { server, admin } = waiting
    const stranger = await connect(other)
    await admin.query('SET synchronous_commit = off')
    for (const client of [admin, stranger]) {
      await client.query('CREATE TABLE IF NOT EXISTS payment (id int)')
      await client.query('CREATE TABLE receipts (id uuid PRIMARY KEY)')
    }
    await stranger.end()
    const hosts = [server, other].map(({ tcp }) => `${tcp.host}:${tcp.port}`).join(',')
    await using manager = new ManagedConnection(`postgres://postgres@${hosts}/postgres`, { verifyCommit })
    const paid = outcome(
      manager.transaction((connection) => connection.query('INSERT INTO payment VALUES (4)')),
    )
    await waitsForStandby(admin, 'COMMIT')
    await server.stop('immediate')
    const settled = await within(paid, 'the payment', 30_000)
    const { commitOutcome, verification } = (settled as PromiseRejectedResult).reason
    assert.equal(commitOutcome, 'unknown')
    assert.match(verification, /another database cluster/)
  })
}

/** The server keeps outcomes in files of so many transactions, and removes whole files. */
const OUTCOMES_IN_FILE = 2 ** 20

/** Has the server forget what became of every transaction that is over by now. */
async function forgetOutcomes(server: PostgresServer): Promise<void> {
  const admin = await connect(server)
  await admin.query(`DO $$ BEGIN
    WHILE pg_current_xact_id()::text::bigint <= ${OUTCOMES_IN_FILE} LOOP COMMIT; END LOOP;
  END $$`)
  await admin.query("UPDATE pg_database SET datallowconn = true WHERE datname = 'template0'")
  const { rows } = await admin.query<{ datname: string }>('SELECT datname FROM pg_database')
  // The oldest outcome that is kept is the oldest that any table of any database may ask for.
  for (const { datname } of rows) {
    const client = new pg.Client(server.conninfo(datname))
    await client.connect()
    await client.query('VACUUM (FREEZE)')
    await client.end()
  }
  await admin.end()
}

test('an id that is too old is not known any more, and says so; a receipt is', async () => {
  await using server = await startServer({
    conf: ['autovacuum = off', 'fsync = off', 'synchronous_commit = off'],
  })
  const admin = await connect(server)
  await admin.query('CREATE TABLE payment (id int); CREATE TABLE receipts (id uuid PRIMARY KEY)')
  await admin.end()
  const pay = async (id: number, verifyCommit: VerifyCommit, whileLost: Promise<void>): Promise<void> => {
    await using proxy = await startProxy(server)
    const { host, port } = proxy
    await using manager = new ManagedConnection(
      { host, port, user: server.user, dbname: 'postgres', sslmode: 'disable' },
      { verifyCommit },
    )
    loseCommit(proxy, 'the answer', () => proxy.refuse())
    const paid = manager.transaction((connection) =>
      connection.query('INSERT INTO payment VALUES ($1)', [id]),
    )
    paid.catch(() => {})
    await whileLost
    await proxy.accept()
    await within(paid, 'the payment', 30_000)
  }
  const forgotten = until(async () => (await ids(server)).length === 2, { what: 'both COMMITs' }).then(() =>
    forgetOutcomes(server),
  )
  const byId = outcome(pay(1, true, forgotten))
  const byReceipt = await outcome(pay(2, { table: 'receipts' }, forgotten))
  assert.equal(byReceipt.status, 'fulfilled')
  const { commitOutcome, verification } = ((await byId) as PromiseRejectedResult).reason
  assert.equal(commitOutcome, 'unknown')
  assert.match(verification, /this one is too old/)
})

/** Loses the answer to the next COMMIT, and crashes the server while the connection that was asked about it is set up. */
async function payOverTwoCrashes(
  verifyCommit: VerifyCommit,
): Promise<[PromiseSettledResult<unknown>, number[]]> {
  await using server = await startServer({ conf: LAZY })
  await using proxy = await startProxy(server)
  let connects = 0
  const { host, port } = proxy
  const manager = new ManagedConnection(
    { host, port, user: server.user, dbname: 'postgres', sslmode: 'disable' },
    {
      groupCommit: true,
      verifyCommit,
      onConnect: async () => {
        if (++connects === 2) await server.restart('immediate')
      },
    },
  )
  await manager.query('CREATE TABLE payment (id int); CREATE TABLE receipts (id uuid PRIMARY KEY)')
  await manager.transaction((connection) => connection.query('SELECT 1'))
  await manager.query('INSERT INTO payment VALUES (0)')
  loseCommit(proxy, 'the answer')
  const paid = manager.transaction((connection) => connection.query('INSERT INTO payment VALUES (1)'))
  // It stands in line, so that no flush goes along with the COMMIT.
  const next = outcome(manager.transaction((connection) => connection.query('SELECT 1')))
  const settled = await outcome(paid)
  await next
  await manager.end()
  assert.equal(connects, 3)
  return [settled, await ids(server)]
}

for (const [way, verifyCommit] of [
  ['an id', true],
  ['a receipt', { table: 'receipts' }],
] as const) {
  test(`by ${way}: what one connection says is committed is asked again, if that one dies before its flush`, async () => {
    const [settled, stored] = await payOverTwoCrashes(verifyCommit)
    assert.deepEqual(stored, [0])
    assert.equal(settled.status, 'rejected', 'it was confirmed, and is lost')
  })
}

/** What became of a payment whose answer was lost with its server, on a standby that follows it. */
interface Failover {
  readonly settled: PromiseSettledResult<unknown>
  readonly stored: readonly number[]
}

/** @param onLoss what happens to the standby behind the loss of the primary */
async function payOverFailover(
  verifyCommit: VerifyCommit,
  onLoss: (standby: PostgresServer, primary: PostgresServer) => Promise<void>,
  before: (standby: pg.Client) => Promise<void> = async () => {},
  reconnectTimeoutMillis = 30_000,
): Promise<Failover> {
  await using primary = await startServer({ hba: REPLICATION_HBA })
  await using standby = await startStandby(primary)
  await using proxy = await startProxy(primary.tcp)
  const hosts = `${proxy.host}:${proxy.port},${standby.tcp.host}:${standby.tcp.port}`
  await using manager = new ManagedConnection(`postgres://postgres@${hosts}/postgres?sslmode=disable`, {
    verifyCommit,
    reconnectTimeoutMillis,
  })
  await manager.query('CREATE TABLE payment (id int); CREATE TABLE receipts (id uuid PRIMARY KEY)')
  const onStandby = await connect(standby)
  await until(async () => (await onStandby.query("SELECT to_regclass('receipts') AS found")).rows[0].found, {
    what: 'the standby to have followed',
  })
  await before(onStandby)
  await onStandby.end()
  await manager.transaction((connection) => connection.query('SELECT 1'))
  // The primary has stored it, and can be asked by nobody.
  loseCommit(proxy, 'the answer', () => proxy.refuse())
  const paid = outcome(
    manager.transaction((connection) => connection.query('INSERT INTO payment VALUES (1)')),
  )
  await until(async () => (await ids(primary)).includes(1), { what: 'the COMMIT' })
  await onLoss(standby, primary)
  const settled = await within(paid, 'the payment', 30_000)
  const isOver = await connect(standby).then(async (client) => {
    const { rows } = await client.query<{ over: boolean }>('SELECT NOT pg_is_in_recovery() AS over')
    await client.end()
    return rows[0]!.over
  })
  return { settled, stored: isOver ? await ids(standby) : [] }
}

async function promote(standby: PostgresServer, primary: PostgresServer): Promise<void> {
  const client = await connect(standby)
  await until(async () => (await client.query('SELECT id FROM payment')).rows.length === 1, {
    what: 'the payment on the standby',
  })
  await primary.stop('immediate')
  await client.query('SELECT pg_promote()')
  await client.end()
}

test('a standby that was promoted knows receipts, and ids mean nothing there', async () => {
  const byReceipt = await payOverFailover({ table: 'receipts' }, promote)
  assert.deepEqual(byReceipt, { settled: byReceipt.settled, stored: [1] })
  assert.equal(byReceipt.settled.status, 'fulfilled')
  const { settled } = await payOverFailover(true, promote)
  const { commitOutcome, verification } = (settled as PromiseRejectedResult).reason
  assert.equal(commitOutcome, 'unknown')
  assert.match(verification, /another copy of the server was promoted/)
})

test('a standby that lags says nothing while it follows; promoted, it has lost what it had not got', async () => {
  const pause = async (standby: pg.Client): Promise<void> => {
    await standby.query("ALTER SYSTEM SET primary_conninfo = ''")
    await standby.query('SELECT pg_reload_conf()')
    await until(async () => (await standby.query('SELECT 1 FROM pg_stat_wal_receiver')).rows.length === 0, {
      what: 'the standby to lose touch',
    })
  }
  const silent = await payOverFailover(
    { table: 'receipts' },
    (_standby, primary) => primary.stop('immediate'),
    pause,
    3_000,
  )
  const { commitOutcome, verification } = (silent.settled as PromiseRejectedResult).reason
  assert.equal(commitOutcome, 'unknown')
  assert.match(verification, /no server could be asked/)
  const promoted = await payOverFailover(
    { table: 'receipts' },
    async (standby, primary) => {
      await primary.stop('immediate')
      const client = await connect(standby)
      await client.query('SELECT pg_promote()')
      await client.end()
    },
    pause,
  )
  assert.deepEqual(promoted.stored, [])
  assert.equal((promoted.settled as PromiseRejectedResult).reason.commitOutcome, 'none')
})

test('a role that may leave no receipts any more commits nothing, and is told why', async () => {
  await using server = await startServer()
  const admin = await connect(server)
  await admin.query(`CREATE TABLE payment (id int); CREATE TABLE receipts (id uuid PRIMARY KEY);
    CREATE ROLE payer LOGIN; GRANT INSERT ON payment, receipts TO payer`)
  const login = { host: server.host, port: server.port, user: 'payer', dbname: 'postgres' }
  await using manager = new ManagedConnection(login, { verifyCommit: { table: 'receipts' } })
  await manager.transaction((connection) => connection.query('INSERT INTO payment VALUES (1)'))
  await admin.query('REVOKE INSERT ON receipts FROM payer')
  const settled = await outcome(
    manager.transaction((connection) => connection.query('INSERT INTO payment VALUES (2)')),
  )
  const { reason } = settled as PromiseRejectedResult
  assert.match(String(reason), /permission denied for table receipts/)
  assert.match(reason.hint, /createReceiptTable/)
  assert.deepEqual(await ids(server), [1])
  await admin.end()
})
