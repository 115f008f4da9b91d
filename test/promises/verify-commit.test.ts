/** `verifyCommit`: what became of a COMMIT that was not answered is found out on the next connection. */
import assert from 'node:assert/strict'
import pg from 'pg'
import {
  ConnectionLostError,
  createReceiptTable,
  purgeReceipts,
  UnsupportedServerError,
  type Connection,
  type ManagedConnectionOptions,
  type VerifyCommit,
} from 'pg-managed-connection'
import { caught, createGate, errorOf, outcome } from '../support/caught.js'
import { loseCommit, type Lost } from '../support/lost-commit.js'
import { ManagedConnection } from '../support/managed.js'
import { openConnected, openProxied } from '../support/proxied.js'
import { openSuite } from '../support/suite.js'
import { until } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database
await admin.query('CREATE TABLE payment (id int)')
{
  await using manager = new ManagedConnection(database.conninfo)
  await createReceiptTable(manager, 'receipts')
}

const WAYS: readonly (readonly [string, Exclude<VerifyCommit, false>])[] = [
  ['by its id', true],
  ['by a receipt', { table: 'receipts' }],
]

let lastPayment = 0

async function stored(id: number): Promise<number> {
  return (await admin.rows('SELECT 1 FROM payment WHERE id = $1', [id])).length
}

/** Pays, with the COMMIT lost. */
async function payWithLoss(
  options: ManagedConnectionOptions,
  lost: Lost,
  how: 'transaction' | 'batch' = 'transaction',
): Promise<{ id: number; settled: PromiseSettledResult<unknown>; events: unknown[]; stats: object }> {
  await using wire = await openConnected(database, options)
  const { manager, proxy } = wire
  const id = ++lastPayment
  const events: unknown[] = []
  manager.on('commitVerified', (event) => events.push(event.outcome))
  loseCommit(proxy, lost)
  const text = 'INSERT INTO payment VALUES ($1) RETURNING id'
  const paid =
    how === 'batch'
      ? manager.batch([{ text, values: [id] }, 'SELECT 2']).then(([first]) => first.rows)
      : manager.transaction(async (connection) => (await connection.query(text, [id])).rows)
  const settled = await outcome(paid)
  assert.equal((await manager.query('SELECT 1 AS one')).rows[0].one, 1)
  return { id, settled, events, stats: manager.stats }
}

for (const [way, verifyCommit] of WAYS) {
  for (const groupCommit of [false, true]) {
    for (const how of ['transaction', 'batch'] as const) {
      const options = { verifyCommit, groupCommit }
      const what = `${how}, ${way}${groupCommit ? ', in a group' : ''}`

      test(`${what}: an answer that was lost: it resolves with its result`, { needs: ['wire'] }, async () => {
        const { id, settled, events, stats } = await payWithLoss(options, 'the answer', how)
        assert.deepEqual(settled, { status: 'fulfilled', value: [{ id }] })
        assert.equal(await stored(id), 1)
        assert.deepEqual(events, ['committed'])
        assert.equal((stats as { verifiedCommitted: number }).verifiedCommitted, 1)
      })

      for (const lost of ['the commit', 'the commit, half open'] as const) {
        test(
          `${what}: ${lost} that was lost: it may be done again`,
          { needs: ['wire', 'kill'] },
          async () => {
            const { id, settled, events, stats } = await payWithLoss(options, lost, how)
            const error = errorOf(settled) as ConnectionLostError
            assert.ok(error instanceof ConnectionLostError, String(error))
            assert.equal(error.commitOutcome, 'none')
            assert.equal(error.retrySafe, true)
            assert.match(error.message, /not committed/)
            assert.equal(await stored(id), 0)
            assert.deepEqual(events, ['none'])
            assert.equal((stats as { verifiedNone: number }).verifiedNone, 1)
          },
        )
      }
    }
  }

  test(`${way}: with retries the work runs again, which counts as one`, { needs: ['wire'] }, async () => {
    await using wire = await openConnected(database, { verifyCommit })
    const { manager, proxy } = wire
    const id = ++lastPayment
    let runs = 0
    loseCommit(proxy, 'the commit')
    await manager.transaction(
      async (connection) => {
        runs++
        await connection.query('INSERT INTO payment VALUES ($1)', [id])
      },
      { retries: 1 },
    )
    assert.equal(runs, 2)
    assert.equal(await stored(id), 1)
  })

  test(`${way}: it runs before onConnect, and others wait for it`, { needs: ['wire'] }, async () => {
    const order: string[] = []
    let connects = 0
    await using wire = await openConnected(database, {
      verifyCommit,
      onConnect: () => void (connects++ > 0 && order.push('onConnect')),
    })
    const { manager, proxy } = wire
    manager.on('commitVerified', () => order.push('verified'))
    loseCommit(proxy, 'the answer')
    const paid = manager
      .transaction((connection) => connection.query('INSERT INTO payment VALUES (0)'))
      .then(() => order.push('paid'))
    const other = manager.query('SELECT 1').then(() => order.push('other'))
    await Promise.all([paid, other])
    assert.deepEqual(order.slice(0, 2).toSorted(), ['onConnect', 'verified'])
    assert.equal(order.includes('other'), true)
  })

  test(`${way}: end() waits until it is known`, { needs: ['wire', 'own thread'] }, async () => {
    await using wire = await openConnected(database, { verifyCommit })
    const { manager, proxy } = wire
    const id = ++lastPayment
    loseCommit(proxy, 'the answer')
    const gate = createGate()
    const paid = manager.transaction(async (connection) => {
      await connection.query('INSERT INTO payment VALUES ($1)', [id])
      gate.open()
    })
    await gate.opened
    const ended = manager.end()
    await paid
    await ended
    assert.equal(await stored(id), 1)
  })

  test(
    `${way}: nobody to ask: the outcome stays unknown, and it is said why`,
    { needs: ['wire'] },
    async () => {
      await using wire = await openConnected(database, { verifyCommit, reconnectTimeoutMillis: 200 })
      const { manager, proxy } = wire
      loseCommit(proxy, 'the answer')
      proxy.refuse()
      const error = await caught(
        manager.transaction((connection) => connection.query('INSERT INTO payment VALUES (0)')),
        ConnectionLostError,
      )
      assert.equal(error.commitOutcome, 'unknown')
      assert.equal(error.retrySafe, false)
      assert.match(error.verification!, /no server could be asked/)
      assert.equal(manager.stats.verifiedUnknown, 1)
      await proxy.accept()
    },
  )

  test(`${way}: a transaction that has failed is told why, and of nothing else`, async () => {
    await using manager = new ManagedConnection(database.conninfo, { verifyCommit })
    const settled = await outcome(
      manager.transaction(async (connection) => {
        await connection.query('INSERT INTO payment VALUES (0)')
        await connection.query('SELECT 1 / 0').catch(() => {})
      }),
    )
    const error = errorOf(settled) as Error & { cause: { code: string } }
    assert.equal(error.name, 'CommitRolledBackError')
    assert.equal(error.cause.code, '22012')
  })

  test(
    `${way}: what was written in a savepoint, by a text or by rows that are read, counts`,
    { needs: ['wire'] },
    async () => {
      const works: ((connection: Connection, id: number) => Promise<unknown>)[] = [
        (connection, id) =>
          connection.transaction((inner) => inner.query('INSERT INTO payment VALUES ($1)', [id])),
        (connection, id) => connection.query(`SELECT 1; INSERT INTO payment VALUES (${id})`),
        async (connection, id) => {
          for await (const _row of connection.stream('INSERT INTO payment VALUES ($1) RETURNING id', [id]))
            break
        },
        async (connection, id) => {
          await connection.query(`DO $$ BEGIN INSERT INTO payment VALUES (${id}); END $$`)
          await connection.transaction((inner) => inner.query('SELECT 1 / 0')).catch(() => {})
        },
      ]
      for (const work of works) {
        for (const lost of ['the answer', 'the commit'] as const) {
          await using wire = await openConnected(database, { verifyCommit })
          const id = ++lastPayment
          loseCommit(wire.proxy, lost)
          const settled = await outcome(wire.manager.transaction((connection) => work(connection, id)))
          assert.equal(
            settled.status,
            lost === 'the answer' ? 'fulfilled' : 'rejected',
            String(errorOf(settled)),
          )
          assert.equal(await stored(id), lost === 'the answer' ? 1 : 0)
        }
      }
    },
  )

  test(
    `${way}: what only reads leaves nothing behind, and is not committed where it was lost`,
    { needs: ['wire'] },
    async () => {
      for (const accessMode of ['read only', undefined] as const) {
        await using wire = await openConnected(database, { verifyCommit })
        const { manager, proxy } = wire
        const before = await admin.rows('SELECT 1 FROM receipts')
        await manager.transaction(
          async (connection) => {
            if (accessMode === undefined) await connection.query('SET TRANSACTION READ ONLY')
            await connection.query('SELECT 1')
          },
          { accessMode },
        )
        assert.equal((await admin.rows('SELECT 1 FROM receipts')).length, before.length)
        loseCommit(proxy, 'the answer')
        const read = manager.transaction((connection) => connection.query('SELECT 1'), {
          accessMode: 'read only',
        })
        const error = await caught(read, ConnectionLostError)
        assert.equal(error.commitOutcome, 'none')
        assert.match(error.verification!, /nothing had been written/)
        await until(() => manager.stats.verifiedNone === 1, { what: 'the figures' })
      }
    },
  )

  test(
    `${way}: an opening that is sent again on a new connection is found out about, too`,
    { needs: ['wire', 'kill'] },
    async () => {
      await using wire = await openConnected(database, { verifyCommit })
      const { manager, proxy } = wire
      await manager.transaction((connection) => connection.query('SELECT 1'))
      await admin.terminate(manager.stats.processID!)
      const id = ++lastPayment
      await manager.transaction(async (connection) => {
        await connection.query('INSERT INTO payment VALUES ($1)', [id])
        loseCommit(proxy, 'the answer')
      })
      assert.equal(await stored(id), 1)
      assert.equal(manager.stats.verifiedCommitted, 1)
    },
  )
}

for (const [way, verifyCommit] of WAYS) {
  test(
    `${way}: a function that notifies is not taken for one that only reads`,
    { needs: ['wire'] },
    async () => {
      await admin.query(`CREATE OR REPLACE FUNCTION announce() RETURNS int LANGUAGE plpgsql AS $$
      BEGIN PERFORM pg_notify('announced', 'x'); RETURN 1; END $$`)
      await using wire = await openConnected(database, { verifyCommit })
      const { manager, proxy } = wire
      const outcomes: string[] = []
      manager.on('commitVerified', (event) => outcomes.push(event.outcome))
      loseCommit(proxy, 'the answer')
      const settled = await outcome(
        manager.transaction((connection) => connection.query('SELECT announce()')),
      )
      if (verifyCommit !== true) assert.equal(settled.status, 'fulfilled')
      else assert.equal((errorOf(settled) as ConnectionLostError).commitOutcome, 'unknown')
      assert.deepEqual(outcomes, [verifyCommit === true ? 'unknown' : 'committed'])
    },
  )
}

test('by its id: after NOTIFY nobody can tell', { needs: ['wire'] }, async () => {
  await using wire = await openConnected(database, { verifyCommit: true })
  loseCommit(wire.proxy, 'the answer')
  const notified = wire.manager.transaction((connection) => connection.query('NOTIFY somebody'))
  const error = await caught(notified, ConnectionLostError)
  assert.equal(error.commitOutcome, 'unknown')
  assert.match(error.verification!, /NOTIFY/)
})

test(
  'by its id: statistics that were reset meanwhile leave it open',
  { needs: ['wire', 'sessions'] },
  async () => {
    await using wire = await openConnected(database, { verifyCommit: true })
    const { manager, proxy } = wire
    await manager.transaction((connection) => connection.query('SELECT 1'))
    await resetStatistics()
    loseCommit(proxy, 'the answer')
    const paid = manager.transaction((connection) => connection.query('INSERT INTO payment VALUES (0)'))
    const error = await caught(paid, ConnectionLostError)
    assert.equal(error.commitOutcome, 'unknown')
    assert.match(error.verification!, /crash|statistics/)
  },
)

/** Before 15 another process does it, a moment later, and what backends see may be half a second old. */
async function resetStatistics(): Promise<void> {
  const lastReset = async (): Promise<string> =>
    (await admin.rows<{ at: string }>('SELECT stats_reset::text AS at FROM pg_stat_bgwriter'))[0]!.at
  const before = await lastReset()
  await admin.query("SELECT pg_stat_reset_shared('bgwriter')")
  await until(async () => (await lastReset()) !== before, { what: 'the statistics to be reset' })
}

const FAULTY: readonly (readonly [string, string, RegExp])[] = [
  ['that is not there', 'SELECT 1', /does not exist.*createReceiptTable/],
  ['without a unique index', 'CREATE TABLE faulty (id uuid)', /unique index/],
  ['with a deferrable one', 'CREATE TABLE faulty (id uuid UNIQUE DEFERRABLE)', /unique index/],
  ['that a crash empties', 'CREATE UNLOGGED TABLE faulty (id uuid PRIMARY KEY)', /not permanent/],
  [
    'with row security',
    'CREATE TABLE faulty (id uuid PRIMARY KEY); ALTER TABLE faulty ENABLE ROW LEVEL SECURITY',
    /row-level/,
  ],
  ['that is a view', 'CREATE VIEW faulty AS SELECT 1 AS id', /not an ordinary table/],
]
for (const [what, make, expected] of FAULTY) {
  test(`a table ${what} is refused before anything is done`, async () => {
    await admin.query('DROP TABLE IF EXISTS faulty').catch(() => {})
    await admin.query(make)
    try {
      await using manager = new ManagedConnection(database.conninfo, { verifyCommit: { table: 'faulty' } })
      const id = ++lastPayment
      const error = await caught(
        manager.transaction((connection) => connection.query('INSERT INTO payment VALUES ($1)', [id])),
        UnsupportedServerError,
      )
      assert.match(error.message, expected)
      assert.equal(error.retrySafe, true)
      assert.equal(await stored(id), 0)
    } finally {
      await admin.query('DROP VIEW IF EXISTS faulty').catch(() => {})
      await admin.query('DROP TABLE IF EXISTS faulty').catch(() => {})
    }
  })
}

test('a receipt table is made once, its name as in SQL, and its old receipts are purged', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await admin.query('CREATE SCHEMA "App"')
  for (let time = 0; time < 2; time++) await createReceiptTable(manager, '"App".Receipts')
  const { length } = await admin.rows(`SELECT 1 FROM pg_class WHERE oid = '"App".receipts'::regclass`)
  assert.equal(length, 1)
  await admin.query(`INSERT INTO "App".receipts VALUES
    (gen_random_uuid(), now() - interval '26 hours'), (gen_random_uuid(), now() - interval '24 hours')`)
  assert.equal(await purgeReceipts(manager, '"App".receipts'), 1)
  for (const name of ['a.b.c', '', 'a b', 'a;b', '"a', 'a.']) {
    await assert.rejects(createReceiptTable(manager, name), TypeError, name)
  }
})

test('a call says otherwise than its manager, and what it says is checked', { needs: ['wire'] }, async () => {
  await using wire = await openProxied(database, { verifyCommit: true })
  const { manager, proxy } = wire
  await manager.query('SELECT 1')
  loseCommit(proxy, 'the answer')
  const paid = manager.transaction((connection) => connection.query('INSERT INTO payment VALUES (0)'), {
    verifyCommit: false,
  })
  assert.equal((await caught(paid, ConnectionLostError)).verification, null)
  for (const verifyCommit of ['yes', {}, { table: 1 }, { table: 'a', other: 1 }, null]) {
    await assert.rejects(
      manager.transaction(() => {}, { verifyCommit: verifyCommit as never }),
      { name: 'TypeError', message: /verifyCommit/ },
    )
  }
})

test(
  'by its id: what was written elsewhere is found out about, too',
  { needs: ['wire', 'users'] },
  async () => {
    const { host, port, user } = database.login
    await admin.query(`
    CREATE EXTENSION postgres_fdw;
    CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw
      OPTIONS (host '${host}', port '${port}', dbname '${database.name}');
    CREATE USER MAPPING FOR CURRENT_USER SERVER loopback OPTIONS (user '${user}');
    CREATE FOREIGN TABLE elsewhere (id int) SERVER loopback OPTIONS (table_name 'payment')`)
    await using wire = await openConnected(database, { verifyCommit: true })
    const { manager, proxy } = wire
    const id = ++lastPayment
    loseCommit(proxy, 'the answer')
    await manager.transaction((connection) => connection.query('INSERT INTO elsewhere VALUES ($1)', [id]), {
      retries: 3,
    })
    assert.equal(await stored(id), 1)
  },
)

test('by a receipt: a session that has become read only leaves none', async () => {
  await using manager = new ManagedConnection(database.conninfo, { verifyCommit: { table: 'receipts' } })
  await manager.transaction((connection) => connection.query('SELECT 1'))
  await manager.query('SET default_transaction_read_only = on')
  const { rows } = await manager.transaction((connection) => connection.query('SELECT 1 AS one'))
  assert.deepEqual(rows, [{ one: 1 }])
})

test('taken back before COMMIT was sent, its transaction is over before the next turn', async () => {
  await using manager = new ManagedConnection(database.conninfo, {
    pipeline: false,
    closeOn: 'database-error',
    maxHoldMillis: 200,
    verifyCommit: { table: 'held_receipts' },
  })
  await createReceiptTable(manager, 'held_receipts')
  await database.admin.query('CREATE TABLE taken_back (id int)')
  const insert = (id: number): Promise<unknown> =>
    manager.transaction((connection) => connection.query('INSERT INTO taken_back VALUES ($1)', [id]))
  await insert(1)
  const blocker = new pg.Client({ connectionString: database.conninfo })
  await blocker.connect()
  // The receipt waits for the lock, and COMMIT behind it.
  await blocker.query('BEGIN; LOCK TABLE held_receipts')
  const taken = outcome(insert(2))
  const next = outcome(insert(3))
  assert.equal(((await taken) as PromiseRejectedResult).reason.code, 'ERR_HOLD_TIMEOUT')
  await blocker.query('ROLLBACK')
  await blocker.end()
  assert.equal((await next).status, 'fulfilled')
  const rows = await database.admin.rows('SELECT id FROM taken_back ORDER BY id')
  assert.deepEqual(rows, [{ id: 1 }, { id: 3 }])
})
