/** Behind PgBouncer: what session mode keeps, what transaction mode takes away, and which options make up for it. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  ConnectionLostError,
  ManagedConnection,
  ManagedConnectionError,
  StatementTimeoutError,
  UnsupportedServerError,
} from 'pg-managed-connection'
import { lead } from 'pg-managed-connection/leader'
import { caught, createGate } from '../support/caught.js'
import { toConninfo } from '../support/address.js'
import { Ledger } from '../support/ledger.js'
import { loseCommit } from '../support/lost-commit.js'
import { conninfoThrough } from '../support/proxied.js'
import { startProxy } from '../support/proxy.js'
import { startPgBouncer, type PgBouncer } from '../support/pgbouncer.js'
import { whyNoPgBouncer } from '../support/pgbouncer-program.js'
import { until } from '../support/wait.js'
import { openSuite } from '../support/suite.js'

// PgBouncer keeps the server's connections when its clients have gone.
const { test, database } = await openSuite({ graceMillis: 0 })
const { admin } = database
await admin.query('CREATE TABLE rows (id int)')

/** Why there is no PgBouncer to test with; false where there is one. */
const missing = await whyNoPgBouncer()

/** What the docs recommend for transaction mode. */
const FOR_TRANSACTION_MODE = { prepare: false } as const

function through(bouncer: PgBouncer): string {
  return toConninfo(bouncer, database.name)
}

async function endAll(bouncer: PgBouncer): Promise<void> {
  await bouncer[Symbol.asyncDispose]()
  // Again, for one that had just been asked for: nobody is there any more who would close it.
  const none = async (): Promise<boolean> => {
    await admin.query(
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
    )
    return (await admin.activity()).length === 0
  }
  await until(none, { what: 'the backends to have gone', intervalMillis: 20 })
}

/** What both modes have in common. */
async function tryEverything(manager: ManagedConnection): Promise<void> {
  await manager.transaction(async (connection) => {
    for (let n = 0; n < 3; n++) await connection.query('INSERT INTO rows VALUES ($1)', [n])
    await connection.transaction((nested) => nested.query('INSERT INTO rows VALUES (3)'))
  })
  await manager.use(async (connection) => {
    await Promise.all([connection.query('SELECT 1'), connection.query('SELECT 2')])
    await connection.commit()
  })
  const shots = await Promise.all(
    Array.from({ length: 50 }, (_, n) => manager.query('SELECT $1::int AS n', [n])),
  )
  assert.deepEqual(
    shots.map(({ rows }) => rows[0].n as number),
    [...shots.keys()],
  )
  const batches = await Promise.all(
    Array.from({ length: 20 }, (_, n) =>
      manager.batch([{ text: 'SELECT $1::int AS n', values: [n] }, 'SELECT 1']),
    ),
  )
  assert.equal(batches[7]![0]!.rows[0].n, 7)
  await manager.batch(['DELETE FROM rows'], { isolationLevel: 'serializable' })
  await assert.rejects(manager.query('SELECT 1/0'), { code: '22012' })
  await assert.rejects(
    manager.use((connection) => connection.query('SELECT 1')),
    { code: 'ERR_UNCOMMITTED_TRANSACTION' },
  )
  await caught(manager.query({ text: 'SELECT pg_sleep(10)', timeoutMillis: 50 }), StatementTimeoutError)
  await caught(
    manager.transaction((connection) => connection.query({ text: 'SELECT pg_sleep(10)', timeoutMillis: 50 })),
    StatementTimeoutError,
  )
  let read = 0
  await manager.transaction(async (connection) => {
    for await (const _row of connection.stream('SELECT generate_series(1, 250)')) read++
  })
  assert.equal(read, 250)
}

test(
  'in session mode everything works as without PgBouncer',
  { resources: false, skip: missing },
  async () => {
    const bouncer = await startPgBouncer(database.login, 'session')
    try {
      await using manager = new ManagedConnection(through(bouncer), {
        reset: 'session',
        pooler: 'session',
      })
      await tryEverything(manager)
      await lead(manager, 'jobs', ({ epoch }) => assert.ok(epoch > 0n))
      await using subscription = await manager.listen('news')
      await manager.query("SELECT pg_notify('news', 'heard')")
      const { value } = await subscription[Symbol.asyncIterator]().next()
      assert.equal((value as { payload: string }).payload, 'heard')
    } finally {
      await endAll(bouncer)
    }
  },
)

test(
  'in transaction mode everything but session state works with prepare: false',
  { resources: false, skip: missing },
  async () => {
    const bouncer = await startPgBouncer(database.login, 'transaction')
    try {
      await using manager = new ManagedConnection(through(bouncer), FOR_TRANSACTION_MODE)
      await tryEverything(manager)
    } finally {
      await endAll(bouncer)
    }
  },
)

/** Others that keep the pool's connections changing hands. */
async function withCrowd(bouncer: PgBouncer, work: () => Promise<void>): Promise<void> {
  const crowd = Array.from({ length: 6 }, () => new ManagedConnection(through(bouncer), FOR_TRANSACTION_MODE))
  let over = false
  const busy = crowd.map(async (manager) => {
    while (!over) await manager.query('SELECT pg_sleep(0.002)')
  })
  try {
    await work()
  } finally {
    over = true
    await Promise.all(busy)
    await Promise.all(crowd.map((manager) => manager.end()))
  }
}

test(
  'in transaction mode a statement prepared by the library is an error at the worst, never a wrong answer',
  { resources: false, skip: missing },
  async (t) => {
    const bouncer = await startPgBouncer(database.login, 'transaction')
    try {
      await withCrowd(bouncer, async () => {
        await using manager = new ManagedConnection(through(bouncer))
        await using other = new ManagedConnection(through(bouncer))
        const counts = { right: 0, refused: 0 }
        const ask = async (who: ManagedConnection, text: string, expected: string): Promise<void> => {
          try {
            const { rows } = await who.query<{ v: string }>(text)
            assert.equal(rows[0]!.v, expected)
            counts.right++
          } catch (error) {
            assert.match(String((error as { code?: string }).code), /^(26000|42P05|08P01)$/, String(error))
            counts.refused++
          }
        }
        for (let n = 0; n < 60; n++) {
          // Both prepare their own text: each must get its own answer, whoever's server connection it is.
          await Promise.all([ask(manager, `SELECT 'a' AS v`, 'a'), ask(other, `SELECT 'b' AS v`, 'b')])
        }
        t.diagnostic(JSON.stringify(counts))
        assert.ok(counts.right > 0)
      })
    } finally {
      await endAll(bouncer)
    }
  },
)

test(
  '64 tasks ride out a PgBouncer that is killed and started again, and nothing confirmed is lost',
  { resources: false, skip: missing },
  async (t) => {
    const bouncer = await startPgBouncer(database.login, 'transaction')
    try {
      await admin.query('TRUNCATE rows')
      await using manager = new ManagedConnection(through(bouncer), FOR_TRANSACTION_MODE)
      const ledger = new Ledger()
      let over = false
      const write = async (): Promise<void> => {
        while (!over) {
          const id = ledger.issue('written')
          await manager
            .transaction((connection) => connection.query('INSERT INTO rows VALUES ($1)', [id]))
            .then(
              () => ledger.settle(id, 'confirmed', 'transaction()'),
              (error: unknown) => {
                assert.ok(
                  error instanceof ManagedConnectionError || (error as { code?: string }).code === '57P01',
                  String(error),
                )
                const unknown = error instanceof ConnectionLostError && error.commitOutcome === 'unknown'
                ledger.settle(id, unknown ? 'unknown' : 'refused', String(error))
              },
            )
        }
      }
      const tasks = Array.from({ length: 64 }, write)
      for (let n = 0; n < 3; n++) {
        await sleep(250)
        await bouncer.kill()
        await sleep(50)
        await bouncer.start()
      }
      await sleep(250)
      over = true
      await Promise.all(tasks)
      // What was cut off in the middle of its COMMIT may take another moment on the server.
      await sleep(200)
      const stored = await admin.rows<{ id: number }>('SELECT id FROM rows')
      assert.deepEqual(ledger.compare(stored.map(({ id }) => id)), [])
      const figures = {
        confirmed: ledger.count('confirmed'),
        unknown: ledger.count('unknown'),
        refused: ledger.count('refused'),
      }
      t.diagnostic(JSON.stringify({ ...figures, connects: manager.stats.connects }))
      assert.ok(manager.stats.connects >= 3)
    } finally {
      await endAll(bouncer)
    }
  },
)

test(
  'in transaction mode what belongs to a session stays where others find it',
  { resources: false, skip: missing },
  async () => {
    const bouncer = await startPgBouncer(database.login, 'transaction', ['default_pool_size = 1'])
    try {
      await using manager = new ManagedConnection(through(bouncer), FOR_TRANSACTION_MODE)
      await using other = new ManagedConnection(through(bouncer), FOR_TRANSACTION_MODE)
      await manager.query("SET app.tenant = 'mine'")
      const { rows } = await other.query<{ tenant: string }>("SELECT current_setting('app.tenant') AS tenant")
      assert.equal(rows[0]!.tenant, 'mine')
      await manager.transaction((connection) => connection.query("SET LOCAL app.tenant = 'local'"))
      const after = await other.query<{ tenant: string }>("SELECT current_setting('app.tenant') AS tenant")
      assert.equal(after.rows[0]!.tenant, 'mine')
    } finally {
      await endAll(bouncer)
    }
  },
)

test(
  'in transaction mode a stale name inside a transaction is an error of that transaction, and of no other',
  { resources: false, skip: missing },
  async (t) => {
    const bouncer = await startPgBouncer(database.login, 'transaction')
    try {
      await admin.query('TRUNCATE rows')
      await withCrowd(bouncer, async () => {
        await using manager = new ManagedConnection(through(bouncer))
        const ledger = new Ledger()
        for (let n = 0; n < 60; n++) {
          const id = ledger.issue('written')
          await manager
            .transaction(async (connection) => {
              await connection.query('SELECT 1')
              await connection.query('INSERT INTO rows VALUES ($1)', [id])
            })
            .then(
              () => ledger.settle(id, 'confirmed', 'transaction()'),
              (error: unknown) => {
                assert.equal((error as { code?: string }).code, '26000', String(error))
                ledger.settle(id, 'refused', String(error))
              },
            )
        }
        const stored = await admin.rows<{ id: number }>('SELECT id FROM rows')
        assert.deepEqual(ledger.compare(stored.map((row) => row.id)), [])
        t.diagnostic(`${ledger.count('confirmed')} confirmed, ${ledger.count('refused')} refused (26000)`)
      })
    } finally {
      await endAll(bouncer)
    }
  },
)

test(
  'in transaction mode a COMMIT is found out about by its receipt, and nobody else’s session is ended',
  { resources: false, skip: missing },
  async () => {
    await admin.query('CREATE TABLE receipts (id uuid PRIMARY KEY)')
    const bouncer = await startPgBouncer(database.login, 'transaction')
    try {
      await using proxy = await startProxy(bouncer)
      const conninfo = conninfoThrough(proxy, { login: bouncer, name: database.name })
      const options = { ...FOR_TRANSACTION_MODE, verifyCommit: { table: 'receipts' } }
      await using manager = new ManagedConnection(conninfo, options)
      await manager.transaction((connection) => connection.query('INSERT INTO rows VALUES (70)'))
      await manager.transaction((connection) => connection.query('SELECT 1'), { accessMode: 'read only' })
      // It has the server's session as soon as the COMMIT is over.
      await using stranger = new ManagedConnection(through(bouncer), FOR_TRANSACTION_MODE)
      const isIn = createGate()
      const gate = createGate()
      loseCommit(proxy, 'the answer')
      const paid = manager.transaction((connection) => connection.query('INSERT INTO rows VALUES (71)'))
      const theirs = stranger.transaction(async (connection) => {
        await connection.query('INSERT INTO rows VALUES (72)')
        isIn.open()
        await gate.opened
        await connection.query('INSERT INTO rows VALUES (73)')
      })
      await isIn.opened
      await paid
      gate.open()
      await theirs
      assert.equal((await admin.rows('SELECT 1 FROM rows WHERE id BETWEEN 70 AND 73')).length, 4)
      for (const asked of [{ groupCommit: true }, { verifyCommit: true }] as const) {
        const error = await caught(
          manager.transaction((connection) => connection.query('SELECT 1'), asked),
          UnsupportedServerError,
        )
        assert.match(error.message, /pooler: 'session'/)
      }
    } finally {
      await endAll(bouncer)
    }
  },
)

test(
  'listen() and lead() are refused behind a pooler, unless the option says that it keeps the session',
  { resources: false, skip: missing },
  async () => {
    for (const mode of ['session', 'transaction'] as const) {
      const bouncer = await startPgBouncer(database.login, mode)
      try {
        for (const pooler of [undefined, 'transaction'] as const) {
          await using manager = new ManagedConnection(through(bouncer), { ...FOR_TRANSACTION_MODE, pooler })
          for (const refused of [manager.listen('news'), lead(manager, 'jobs', () => {})]) {
            const error = await caught(refused, UnsupportedServerError)
            assert.match(error.message, /^(?:listen|lead)\(\) needs .*pooler: 'session'/)
          }
          const locks = await admin.rows(
            "SELECT FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory' AND datname = current_database()",
          )
          assert.equal(locks.length, 0)
          assert.equal((await manager.query('SELECT 1 AS one')).rows[0].one, 1)
        }
      } finally {
        await endAll(bouncer)
      }
    }
  },
)

test(
  "in transaction mode pooler: 'transaction' prepares nothing, and a lost name names the option",
  { resources: false, skip: missing },
  async () => {
    const bouncer = await startPgBouncer(database.login, 'transaction')
    try {
      await withCrowd(bouncer, async () => {
        await using right = new ManagedConnection(through(bouncer), { pooler: 'transaction' })
        for (let n = 0; n < 30; n++) await right.query('SELECT $1::int', [n])
        assert.equal(right.stats.prepared, 0)
        await using wrong = new ManagedConnection(through(bouncer))
        const failed: unknown[] = []
        for (let n = 0; n < 200 && failed.length === 0; n++) {
          await Promise.all(
            [1, 2, 3].map(() =>
              wrong.query('SELECT $1::int', [n]).catch((error: unknown) => failed.push(error)),
            ),
          )
        }
        for (const error of failed as { code: string; hint: string }[]) {
          assert.equal(error.code, '26000')
          assert.match(error.hint, /pooler: 'transaction'/)
        }
        assert.notEqual(failed.length, 0)
      })
    } finally {
      await endAll(bouncer)
    }
  },
)
