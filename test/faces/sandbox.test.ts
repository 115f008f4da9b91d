/** Tests that undo themselves: a manager in which nothing is ever committed. */
import assert from 'node:assert/strict'
import { before } from 'node:test'
import { Kysely, PostgresDialect } from 'kysely'
import type { Manager } from 'pg-managed-connection'
import { asPool } from 'pg-managed-connection/pool'
import { openSandbox } from 'pg-managed-connection/sandbox'
import { reason } from '../support/caught.js'
import { openManager } from '../support/manager.js'
import { assertSame, type Step } from '../support/same-in-sandbox.js'
import { openSuite } from '../support/suite.js'

const { test, database } = await openSuite()

before(async () => {
  await using manager = openManager(database.conninfo)
  await manager.query(`
    CREATE TABLE items (id int PRIMARY KEY, name text);
    CREATE TABLE parts (id int PRIMARY KEY, item int REFERENCES items DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE log (line text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO log VALUES (NEW.name); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER note AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION note()`)
})

const one = "INSERT INTO items VALUES (1, 'one')"
const two = "INSERT INTO items VALUES (2, 'two')"

const SETTINGS = { settings: { work_mem: '7MB', 'app.tenant': 1 }, role: 'pg_monitor' } as const
const SEEN =
  "SELECT current_setting('work_mem') AS mem, current_setting('app.tenant') AS tenant, current_user AS role"

/** What a turn with settings sees of them. */
async function settingsSeen(
  manager: Manager,
  verb: 'query' | 'batch' | 'transaction' | 'use',
): Promise<unknown> {
  if (verb === 'query') return manager.with(SETTINGS).query(SEEN)
  if (verb === 'batch') return manager.batch([SEEN, SEEN], SETTINGS)
  if (verb === 'transaction') return manager.transaction((connection) => connection.query(SEEN), SETTINGS)
  return manager.use(
    async (connection) => {
      const alone = await connection.query(SEEN)
      await connection.query('BEGIN')
      const within = await connection.query(SEEN)
      await connection.query('COMMIT')
      return [alone, within]
    },
    { ...SETTINGS, autocommit: true },
  )
}

/** What a program does on a manager and in a sandbox alike. */
const STEPS: readonly Step<Manager>[] = [
  (manager) => manager.query(one),
  (manager) => manager.query(one),
  (manager) => manager.query('SELECT * FROM log'),
  (manager) => manager.query('INSERT INTO parts VALUES (1, 99)'),
  (manager) => manager.transaction((connection) => connection.query('INSERT INTO parts VALUES (1, 99)')),
  (manager) => manager.transaction((connection) => connection.query(two)),
  (manager) => manager.query('INSERT INTO parts VALUES (2, 3); INSERT INTO items VALUES (3)'),
  (manager) => manager.batch([two, one]),
  (manager) => manager.batch(["INSERT INTO items VALUES (4, 'four')", 'SELECT count(*) FROM items']),
  (manager) => manager.use((connection) => connection.query("INSERT INTO items VALUES (5, 'five')")),
  (manager) =>
    manager.use(async (connection) => {
      await connection.query("INSERT INTO items VALUES (6, 'six')")
      await connection.commit()
      await connection.query("INSERT INTO items VALUES (7, 'seven')")
      await connection.rollback()
    }),
  (manager) =>
    manager.transaction(async (connection) => {
      await connection.query('SELECT 1 / 0').catch(() => {})
    }),
  (manager) =>
    manager.transaction(async (connection) => {
      await connection.query("INSERT INTO items VALUES (8, 'eight')")
      await connection
        .transaction((nested) => nested.query("INSERT INTO items VALUES (8, 'again')"))
        .catch(() => {})
      await connection.transaction((nested) => nested.query("INSERT INTO items VALUES (9, 'nine')"))
    }),
  (manager) => manager.query('BEGIN'),
  (manager) => manager.query("BEGIN; INSERT INTO items VALUES (10, 'ten'); COMMIT; SELECT 1 AS one"),
  (manager) => manager.query("BEGIN; INSERT INTO items VALUES (11, 'eleven'); ROLLBACK"),
  (manager) => manager.transaction((connection) => connection.query('COMMIT')),
  (manager) =>
    manager.use(
      async (connection) => {
        await connection.query('BEGIN')
        await connection.query("INSERT INTO items VALUES (12, 'twelve')")
        await connection.query('SAVEPOINT mine')
        await connection.query('SELECT 1 / 0').catch(() => {})
        await connection.query('ROLLBACK TO mine')
        return connection.query('COMMIT')
      },
      { autocommit: true },
    ),
  (manager) =>
    manager.transaction((connection) => connection.query('INSERT INTO items VALUES (13)'), {
      accessMode: 'read only',
    }),
  (manager) =>
    manager.transaction(async (connection) => {
      await connection.query("SET LOCAL application_name TO 'local'")
      await connection.query("SELECT set_config('app.tenant', 'seven', true)")
      return connection.query("SELECT current_setting('app.tenant') AS tenant")
    }),
  (manager) => manager.query('SHOW application_name'),
  ...(['query', 'batch', 'transaction', 'use'] as const).map(
    (verb): Step<Manager> =>
      (manager) =>
        settingsSeen(manager, verb),
  ),
  (manager) => manager.query('SHOW work_mem'),
  (manager) => manager.query({ text: 'SELECT 1', settings: { nosuch: 1 } }),
  (manager) => manager.query({ text: 'COMMIT AND CHAIN', settings: { work_mem: '7MB' } }),
  (manager) => manager.transaction((connection) => connection.query('SELECT 1'), { role: 'nosuch' }),
  (manager) => manager.query('SELECT current_user'),
  (manager) => manager.query("SELECT coalesce(current_setting('app.tenant', true), '') AS tenant"),
  (manager) =>
    manager.transaction(async (connection) => {
      await connection.query('DECLARE all_items CURSOR FOR SELECT 1')
    }),
  (manager) => manager.query('SELECT name FROM pg_cursors'),
  (manager) =>
    manager.transaction(async (connection) => {
      const ids: unknown[] = []
      for await (const row of connection.stream<{ id: number }>('SELECT id FROM items ORDER BY id', [], {
        batchSize: 2,
      })) {
        ids.push(row.id)
        if (ids.length === 5) break
      }
      return ids
    }),
  (manager) => {
    const late = manager.use((connection) => void connection.query('SELECT pg_sleep(0.05)'))
    return late
  },
  (manager) => manager.query({ text: 'SELECT pg_sleep(5)', timeoutMillis: 50 }),
  (manager) => manager.query('BEGIN; SELECT 1 / 0'),
  (manager) => manager.query('ROLLBACK TO nowhere'),
  (manager) =>
    manager.use(async (connection) => {
      await connection.query("INSERT INTO items VALUES (30, 'thirty')")
      await connection.transaction((nested) => nested.query(one)).catch(() => {})
    }),
  (manager) =>
    manager.use(async (connection) => {
      await connection.query('SELECT 1 / 0').catch(() => {})
      await connection.rollback()
      await connection.query("INSERT INTO items VALUES (31, 'thirty-one')")
    }),
  (manager) =>
    manager.use(async (connection) => {
      await connection.query('SELECT 1 / 0').catch(() => {})
    }),
  (manager) =>
    manager.use(async (connection) => {
      await connection.query('SAVEPOINT mine')
      await connection.query('SELECT 1 / 0').catch(() => {})
      await connection.query('ROLLBACK TO mine')
    }),
  (manager) =>
    manager.use(
      async (connection) => {
        await connection.transaction((nested) => nested.query("INSERT INTO items VALUES (32, 'own')"))
        await connection.transaction((nested) => nested.query(one)).catch(() => {})
        return connection.query('SELECT count(*)::int AS n FROM items')
      },
      { autocommit: true },
    ),
  (manager) =>
    manager.transaction(async (connection) => {
      await connection.query("INSERT INTO items VALUES (33, 'x')")
      await connection.query('COMMIT')
      await connection.query("INSERT INTO items VALUES (34, 'x')")
    }),
  (manager) =>
    manager.transaction(async (connection) => {
      await connection.query("COMMIT; INSERT INTO items VALUES (35, 'x')")
    }),
  (manager) => manager.use((connection) => connection.query("COMMIT; INSERT INTO items VALUES (36, 'x')")),
  (manager) => manager.transaction((connection) => connection.query('ROLLBACK; BEGIN; SELECT 1 AS one')),
  (manager) =>
    manager.transaction(async (connection) => {
      await connection.query('SAVEPOINT mine; RELEASE mine; SAVEPOINT other')
      await connection.transaction((nested) => nested.query('ROLLBACK TO other'))
    }),
  (manager) => manager.batch(['SELECT 1 AS one', 'LOCK TABLE items', 'SELECT 2 AS two']),
  (manager) => manager.batch(['SAVEPOINT a']),
  (manager) => manager.query('SELECT id, name FROM items ORDER BY id'),
  (manager) => manager.query('SELECT line FROM log ORDER BY line'),
]

test('results, errors and rollbacks are those of a manager, and nothing is left behind', async () => {
  await using manager = openManager(database.conninfo)
  const itself = async (of: Manager) => ({ it: of, close: async () => {} })
  await assertSame(database.conninfo, itself, STEPS, async () => {
    const { rows } = await manager.query('SELECT FROM items UNION ALL SELECT FROM log')
    assert.equal(rows.length, 0)
  })
  await manager.query('TRUNCATE items, parts, log')
})

test('reset() goes back to the beginning, or to the mark', async () => {
  await using manager = openManager(database.conninfo)
  await using sandbox = await openSandbox(manager)
  const ids = async (): Promise<number[]> =>
    (await sandbox.query<{ id: number }>('SELECT id FROM items ORDER BY id')).rows.map(({ id }) => id)
  await sandbox.query(one)
  await sandbox.reset()
  assert.deepEqual(await ids(), [])
  await sandbox.query(one)
  await sandbox.mark()
  await sandbox.query(two)
  await sandbox.reset()
  await sandbox.reset()
  assert.deepEqual(await ids(), [1])
})

test('parallel tasks have their turns one after the other', async () => {
  await using manager = openManager(database.conninfo)
  await using sandbox = await openSandbox(manager)
  const tasks = Array.from({ length: 20 }, (_, id) =>
    id % 2 === 0
      ? sandbox.query('INSERT INTO items VALUES ($1)', [id])
      : sandbox.transaction((connection) => connection.query('INSERT INTO items VALUES ($1)', [id])),
  )
  await Promise.all(tasks)
  const { rows } = await sandbox.query('SELECT count(*)::int AS n FROM items')
  assert.deepEqual(rows, [{ n: 20 }])
})

test('what cannot be undone, or isolated enough, is refused', async () => {
  await using manager = openManager(database.conninfo)
  await using sandbox = await openSandbox(manager, { isolationLevel: 'repeatable read' })
  const refused: (() => Promise<unknown>)[] = [
    () => sandbox.listen('channel'),
    () => sandbox.query('LISTEN channel'),
    () => sandbox.query('VACUUM'),
    () => sandbox.query('DO $$ BEGIN COMMIT; END $$'),
    () => sandbox.query("PREPARE TRANSACTION 'one'"),
    () => sandbox.close(),
    () =>
      sandbox.transaction((connection) => connection.query('SELECT 1'), { isolationLevel: 'serializable' }),
  ]
  for (const one of refused) assert.equal(((await reason(one())) as { code?: string }).code, 'ERR_SANDBOX')
  await sandbox.transaction((connection) => connection.query('SELECT 1'), {
    isolationLevel: 'read committed',
  })
})

test('who asks the manager meanwhile is told that a sandbox is open', async () => {
  await using manager = openManager(database.conninfo)
  await using _sandbox = await openSandbox(manager)
  const error = await reason(manager.acquire({ timeoutMillis: 20 }))
  assert.match(String(error), /held by "an open sandbox"/)
})

test('a lost connection ends the sandbox with an error', { needs: ['kill'] }, async () => {
  await using manager = openManager(database.conninfo)
  const sandbox = await openSandbox(manager)
  const error = await reason(sandbox.query('SELECT pg_terminate_backend(pg_backend_pid())'))
  assert.match(String(error), /lost|terminat/i)
  assert.match(String(await reason(sandbox.query('SELECT 1'))), /ConnectionLostError/)
  await sandbox.end()
  assert.deepEqual((await manager.query('SELECT 1 AS one')).rows, [{ one: 1 }])
})

test('asPool takes a sandbox, for plain code and for Kysely', async () => {
  await using manager = openManager(database.conninfo)
  await using sandbox = await openSandbox(manager)
  await using pool = asPool(sandbox)
  const client = await pool.connect()
  await client.query('BEGIN')
  await client.query(one)
  const { command } = await client.query('COMMIT')
  client.release()
  assert.equal(command, 'COMMIT')
  const db = new Kysely<{ items: { id: number } }>({ dialect: new PostgresDialect({ pool }) })
  const failing = db.transaction().execute(async (trx) => {
    await trx.insertInto('items').values({ id: 20 }).execute()
    throw new Error('no')
  })
  assert.match(String(await reason(failing)), /no/)
  await db.transaction().execute((trx) => trx.insertInto('items').values({ id: 21 }).execute())
  assert.deepEqual(await db.selectFrom('items').select('id').orderBy('id').execute(), [{ id: 1 }, { id: 21 }])
})
