/** `query` and `batch`: pg's signatures and results, one-shots, atomic batches. */
import assert from 'node:assert/strict'
import pg from 'pg'
import {
  TransactionOrderError,
  UncommittedTransactionError,
  type Connection,
  type RollbackEvent,
} from 'pg-managed-connection'
import { caught, reason } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { startProxy } from '../support/proxy.js'
import { onGround, openSuite } from '../support/suite.js'
import { until } from '../support/wait.js'
import { conninfoThrough } from '../support/proxied.js'

const { test: declare, database } = await openSuite()
const { admin } = database
await admin.query('CREATE TABLE t (id int PRIMARY KEY, name text)')
await admin.query('CREATE TABLE late (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)')
/** Since PostgreSQL 15. */
const hasMerge = (await admin.serverVersion()) >= 150_000

/** Each test begins with empty tables. */
const test = onGround(() => admin.query('TRUNCATE t, late'), declare)

/** What both a manager and a holder's handle can be asked. */
type Query = Connection['query'] & ManagedConnection['query']

/** Runs the same against the manager and against a holder's handle, beside a client of pg's own. */
function onBoth(sentence: string, body: (query: Query, client: pg.Client) => Promise<void>): void {
  for (const face of ['manager', 'connection'] as const) {
    test(`${face}: ${sentence}`, { needs: ['sessions'] }, async () => {
      await using manager = new ManagedConnection(database.conninfo)
      const client = new pg.Client(database.conninfo)
      await client.connect()
      try {
        if (face === 'manager') await body(manager.query.bind(manager) as Query, client)
        else {
          await manager.use(async (connection) => {
            await body(connection.query.bind(connection) as Query, client)
            await connection.rollback()
          })
        }
      } finally {
        await client.end()
      }
    })
  }
}

/** A result as it can be compared: without pg's own helpers. */
function plain({ command, rowCount, oid, rows, fields }: pg.QueryResult): unknown {
  return { command, rowCount, oid, rows, fields: fields.map((field) => ({ ...field })) }
}

onBoth('results are those of pg: rows, rowCount, command, fields', async (query, client) => {
  const statements: [string, unknown[]?][] = [
    ["SELECT 1 AS one, 'x' AS text, NULL AS nothing"],
    ['SELECT $1::int + 1 AS n', [41]],
    ['SELECT generate_series(1, 3) AS n'],
    ['SELECT 1 WHERE false'],
    ["VALUES (1, 'a'), (2, 'b')"],
    ['WITH x AS (SELECT 1 AS n) SELECT * FROM x'],
    ['SELECT'],
    [''],
    ['-- nothing'],
    ['SET LOCAL work_mem = 65536'],
    ['SHOW server_version_num'],
    ['EXPLAIN (COSTS OFF) SELECT 1'],
  ]
  for (const [text, values] of statements) {
    const [ours, theirs] = [await query(text, values), await client.query(text, values)]
    assert.deepEqual(plain(ours), plain(theirs), text)
    assert.ok(Array.isArray(ours.rows))
  }
})

onBoth('results stay right when a statement is prepared, from its second use on', async (query) => {
  for (let n = 1; n <= 5; n++) {
    const { rows, fields, rowCount } = await query<{ n: number }>('SELECT $1::int AS n', [n])
    assert.deepEqual(rows, [{ n }])
    assert.equal(fields[0]!.name, 'n')
    assert.equal(rowCount, 1)
  }
})

onBoth('INSERT, UPDATE, DELETE and MERGE tell how many rows', async (query) => {
  const inserted = await query('INSERT INTO t (id) VALUES (1), (2) RETURNING id')
  assert.deepEqual(
    [inserted.command, inserted.rowCount, inserted.rows],
    ['INSERT', 2, [{ id: 1 }, { id: 2 }]],
  )
  const updated = await query("UPDATE t SET name = 'x'")
  assert.deepEqual([updated.command, updated.rowCount, updated.rows], ['UPDATE', 2, []])
  if (hasMerge) {
    const merged = await query(
      'MERGE INTO t USING (VALUES (1)) AS s (id) ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = NULL',
    )
    assert.deepEqual([merged.command, merged.rowCount], ['MERGE', 1])
  }
  const deleted = await query('DELETE FROM t')
  assert.deepEqual([deleted.command, deleted.rowCount], ['DELETE', 2])
})

onBoth('values of every kind arrive as pg sends them', async (query, client) => {
  const date = new Date('2024-02-29T12:34:56.789Z')
  const values: [type: string, value: unknown][] = [
    ['int', 1],
    ['int', null],
    ['int', undefined],
    ['text', ''],
    ['text', 'ünïcödé 🎉 \\ \' " $1'],
    ['bigint', 9007199254740993n],
    ['boolean', true],
    ['float8', 1.5],
    ['numeric', '123456789012345678901234567890.5'],
    ['timestamptz', date],
    ['bytea', Buffer.from([0, 1, 255])],
    ['bytea', new Uint8Array([7, 0, 8])],
    ['json', { a: [1, null, 'x'] }],
    ['jsonb', { nested: { deep: true } }],
    ['int[]', [1, 2, null]],
    ['text[]', ['a,b', '"', '\\', null]],
    ['int[]', []],
    ['text', { toPostgres: () => 'by hand' }],
  ]
  for (const [type, value] of values) {
    const text = `SELECT $1::${type} AS v`
    const [ours, theirs] = [await query(text, [value]), await client.query(text, [value])]
    assert.deepEqual(ours.rows, theirs.rows, `${type}: ${String(value)}`)
  }
})

onBoth('a large value and many rows pass whole', async (query) => {
  const large = 'x'.repeat(3_000_000)
  assert.equal((await query('SELECT $1::text AS v', [large])).rows[0].v, large)
  const { rows, rowCount } = await query('SELECT n FROM generate_series(1, 20000) AS n')
  assert.equal(rowCount, 20_000)
  assert.equal(rows[19_999].n, 20_000)
})

onBoth("rowMode: 'array' gives rows as arrays", async (query) => {
  for (let time = 1; time <= 3; time++) {
    const result = await query({ text: 'SELECT 1 AS a, 2 AS a', rowMode: 'array' })
    assert.deepEqual(result.rows, [[1, 2]])
  }
  assert.deepEqual((await query({ text: 'SELECT $1::int', values: [5], rowMode: 'array' })).rows, [[5]])
  assert.deepEqual((await query({ text: 'SELECT $1::int', rowMode: 'array' }, [6])).rows, [[6]])
})

onBoth('types: a config brings parsers of its own', async (query) => {
  const types = { getTypeParser: () => (text: string) => `<${text}>` } as never
  assert.deepEqual((await query({ text: 'SELECT 1 AS n, NULL AS x', types })).rows, [{ n: '<1>', x: null }])
  assert.deepEqual((await query('SELECT 1 AS n, NULL AS x')).rows, [{ n: 1, x: null }])
})

onBoth('a type parser that throws rejects its own call only', async (query) => {
  const own = new Error('unreadable')
  const types = {
    getTypeParser: () => () => {
      throw own
    },
  } as never
  assert.equal(await reason(query({ text: 'SELECT 1 AS n', types })), own)
  assert.deepEqual((await query('SELECT 2 AS n')).rows, [{ n: 2 }])
})

onBoth('name: a named statement is prepared once and used again with other values', async (query) => {
  for (let n = 1; n <= 3; n++) {
    const { rows } = await query({ name: 'mine', text: 'SELECT $1::int AS n', values: [n] })
    assert.deepEqual(rows, [{ n }])
  }
  const { rows } = await query<{ n: number }>(
    "SELECT count(*)::int AS n FROM pg_prepared_statements WHERE name = 'mine'",
  )
  assert.equal(rows[0]!.n, 1)
  const error = (await reason(query({ name: 'mine', text: 'SELECT 2' }))) as Error
  assert.match(
    error.message,
    /Prepared statements must be unique - 'mine' was used for a different statement/,
  )
  assert.deepEqual((await query({ name: 'mine', text: 'SELECT $1::int AS n', values: [9] })).rows, [{ n: 9 }])
})

onBoth('several statements answer with an array of results', async (query) => {
  const results = (await query('SELECT 1 AS a; SELECT 2 AS b; ')) as unknown as pg.QueryResult[]
  assert.deepEqual(
    results.map(({ rows }) => rows),
    [[{ a: 1 }], [{ b: 2 }]],
  )
})

onBoth('several statements with values are refused by the server, as with pg', async (query) => {
  assert.equal(((await reason(query('SELECT 1; SELECT $1::int', [1]))) as pg.DatabaseError).code, '42601')
})

onBoth('callbacks in all of pg’s forms are called once, after the call returned', async (query) => {
  type Answer = [error: unknown, result: pg.QueryResult | undefined]
  const ask = (
    call: (callback: (error: Error, result: pg.QueryResult) => void) => unknown,
  ): Promise<Answer> =>
    new Promise((resolve, reject) => {
      let returned = false
      let calls = 0
      const value = call((error, result) => {
        if (!returned || calls++ > 0) reject(new Error('called too early or too often'))
        resolve([error, result])
      })
      returned = true
      assert.equal(value, undefined)
    })
  const [none, result] = await ask((callback) => query('SELECT 1 AS n', callback))
  assert.equal(none, null)
  assert.deepEqual(result!.rows, [{ n: 1 }])
  assert.deepEqual((await ask((callback) => query('SELECT $1::int AS n', [2], callback)))[1]!.rows, [
    { n: 2 },
  ])
  assert.deepEqual((await ask((callback) => query({ text: 'SELECT 3 AS n' }, callback)))[1]!.rows, [{ n: 3 }])
  const inConfig = (callback: unknown): unknown => query({ text: 'SELECT 4 AS n', callback } as never)
  assert.deepEqual((await ask(inConfig))[1]!.rows, [{ n: 4 }])
  const [error, nothing] = await ask((callback) => query('SELECT 1 / 0', callback))
  assert.equal((error as pg.DatabaseError).code, '22012')
  assert.equal(nothing, undefined)
})

onBoth('calls that pg refuses are refused, and reach nobody', async (query) => {
  await assert.rejects(query(undefined as never), TypeError)
  await assert.rejects(query(null as never), TypeError)
  await assert.rejects(query({} as never), TypeError)
  await assert.rejects(query('SELECT $1::int', 5 as never), TypeError)
  await assert.rejects(query('SELECT 1\0; DROP TABLE t'), TypeError)
  await assert.rejects(query({ text: (() => {}) as never }), TypeError)
  for (const timeoutMillis of [-5, NaN, '100' as never])
    await assert.rejects(query({ text: 'SELECT 1', timeoutMillis }), /timeoutMillis must be/)
  await assert.rejects(query({ text: 'SELECT 1', signal: 'no' as never }), /signal/)
  const cyclic: Record<string, unknown> = {}
  cyclic['self'] = cyclic
  await assert.rejects(query('SELECT $1::json', [cyclic]), TypeError)
  assert.deepEqual((await query('SELECT 1 AS n')).rows, [{ n: 1 }])
})

onBoth('what is changed in a result’s fields, nobody else sees', async (query) => {
  for (let time = 0; time < 5; time++) {
    const { fields, rows } = await query('SELECT 1 AS one, 2 AS two')
    assert.deepEqual(
      fields.map(({ name }) => name),
      ['one', 'two'],
    )
    assert.deepEqual(rows, [{ one: 1, two: 2 }])
    Object.assign(fields[0]!, { name: 'changed', dataTypeID: 0 })
    fields.push(fields[0]!)
  }
})

onBoth('a column called __proto__ is a column like any other', async (query) => {
  const { rows } = await query('SELECT 1 AS "__proto__"')
  assert.deepEqual(Object.keys(rows[0] as object), ['__proto__'])
})

onBoth('values are read when it is called: changing them afterwards changes nothing', async (query) => {
  const values = [[1, 2]]
  const config = { text: 'SELECT $1::int[] AS v', values }
  const answer = query(config)
  values[0]!.push(3)
  config.text = 'SELECT 0'
  assert.deepEqual((await answer).rows, [{ v: [1, 2] }])
})

onBoth('errors are pg’s own DatabaseError with its fields', async (query) => {
  const error = await caught(query('SELECT * FROM missing'), pg.DatabaseError)
  assert.equal(error.code, '42P01')
  assert.equal(error.severity, 'ERROR')
  assert.equal(error.position, '15')
})

onBoth('an aborted signal rejects before anything is sent', async (query) => {
  const own = new Error('no')
  const signal = AbortSignal.abort(own)
  assert.equal(await reason(query({ text: 'INSERT INTO t VALUES (1)', signal })), own)
  assert.deepEqual(await admin.ids(), [])
})

// ---- one-shots

test('a one-shot commits by itself', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('INSERT INTO t VALUES ($1)', [1])
  assert.deepEqual(await admin.ids(), [1])
  assert.equal(manager.status, 'idle')
})

test('of adjacent one-shots a failing one does not take the others along', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  const outcomes = await Promise.allSettled([
    manager.query('INSERT INTO t VALUES (1)'),
    manager.query('INSERT INTO t VALUES (1)'),
    manager.query('SELECT 1 / 0'),
    manager.query('INSERT INTO t VALUES (2)'),
  ])
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'rejected', 'fulfilled'],
  )
  assert.deepEqual(await admin.ids(), [1, 2])
})

test('what is not plainly one of the pipelined kinds travels alone', { needs: ['wire'] }, async () => {
  await using proxy = await startProxy(database.login)
  const recording = proxy.record()
  await using manager = new ManagedConnection(conninfoThrough(proxy, database))
  await manager.query('SELECT 0')
  for (const text of [
    'SET work_mem = 65536',
    'CALL nothing()',
    'SELECT 1; SELECT 2',
    'SHOW work_mem',
    'EXPLAIN SELECT 1',
    '(SELECT 1) UNION SELECT 2; SELECT 1',
    'VACUUM t',
    'DO $$BEGIN END$$',
  ]) {
    proxy.pause('toClient')
    recording.clear()
    const before = manager.query('SELECT 1')
    const alone = Promise.allSettled([manager.query(text)])
    const behind = manager.query('SELECT 3')
    await until(() => recording.sent().includes('Sync'), { what: 'the first' })
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(recording.sent().filter((message) => message === 'Sync').length, 1, text)
    assert.ok(!recording.sent().some((message) => message.includes(text)), text)
    proxy.resume()
    await Promise.all([before, alone, behind])
    const dialogue = recording.dialogue()
    const sent = dialogue.findIndex((message) => message.startsWith('> ') && message.includes(text))
    const ready = dialogue.findIndex((message, n) => n > sent && message.startsWith('< ReadyForQuery'))
    assert.ok(!dialogue.slice(sent, ready).some((message) => message.includes('SELECT 3')), text)
  }
})

test('a one-shot that does not end idle is rolled back before anyone else is served, and told', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const events: RollbackEvent[] = []
  manager.on('rollback', (event) => events.push(event))
  for (const text of ['BEGIN', 'START TRANSACTION', 'BEGIN; INSERT INTO t VALUES (1)', '/* x */ begin']) {
    const asked = caught(manager.query(text), UncommittedTransactionError)
    const next = manager.query<{ x: string | null }>('SELECT pg_current_xact_id_if_assigned()::text AS x')
    const error = await asked
    assert.equal(error.statement, text)
    assert.match(error.message, /^Did not commit or rollback open transaction before releasing connection/)
    assert.deepEqual((await next).rows, [{ x: null }])
    assert.equal(manager.status, 'idle')
  }
  assert.deepEqual(await admin.ids(), [])
  assert.deepEqual(
    events.map(({ reason: why }) => why),
    Array.from({ length: 4 }, () => 'one-shot'),
  )
  assert.equal(manager.stats.rollbacks, 4)
})

test('a one-shot that fails with its transaction open is rolled back, its error the cause', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const error = await caught(manager.query('BEGIN; SELECT 1 / 0'), UncommittedTransactionError)
  assert.equal((error.cause as pg.DatabaseError).code, '22012')
  assert.equal(manager.status, 'idle')
})

test('a one-shot that committed before it left a transaction open does not pass as safe to repeat', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const error = await caught(
    manager.query('BEGIN; INSERT INTO t VALUES (1); COMMIT; BEGIN'),
    UncommittedTransactionError,
  )
  assert.deepEqual(await admin.ids(), [1])
  assert.equal(error.retrySafe, false)
})

test('a whole transaction in one text is a one-shot like any other', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('BEGIN; INSERT INTO t VALUES (1); COMMIT')
  assert.deepEqual(await admin.ids(), [1])
})

test('a one-shot refuses a submittable with a clear error', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const submittable = { submit: () => assert.fail('submitted') } as unknown as pg.Submittable
  const error = await reason(manager.query(submittable as never) as Promise<unknown>)
  assert.ok(error instanceof TypeError)
  assert.match(error.message, /submittable/)
})

test('a callback that is none is refused at once, and nothing runs', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const asked = (): unknown => manager.query('INSERT INTO t VALUES (1)', 'no function' as never, 5 as never)
  assert.throws(asked, TypeError)
  const withOptions = (): unknown => manager.query('SELECT 1', [], { timeoutMillis: 5 } as never)
  assert.throws(withOptions, /options stand in the first argument: \{ text, values, timeoutMillis \}/)
  await manager.query('SELECT 1')
  assert.deepEqual(await admin.ids(), [])
})

test('statements that cannot run in a transaction work as one-shots', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('VACUUM t')
  await manager.query(`CREATE DATABASE ${database.name}_more TEMPLATE template0`)
  await manager.query(`DROP DATABASE ${database.name}_more`)
})

test('a prepared SELECT * goes on working after ALTER TABLE elsewhere', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await admin.query(
    'DROP TABLE IF EXISTS altered; CREATE TABLE altered (a int); INSERT INTO altered VALUES (1)',
  )
  const ask = async (): Promise<unknown[]> => (await manager.query('SELECT * FROM altered')).rows
  for (let n = 0; n < 3; n++) assert.deepEqual(await ask(), [{ a: 1 }])
  await admin.query('ALTER TABLE altered ADD b int DEFAULT 2')
  for (let n = 0; n < 3; n++) assert.deepEqual(await ask(), [{ a: 1, b: 2 }])
})

test('a prepared SELECT * that opens a transaction goes on working after ALTER TABLE elsewhere', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await admin.query(
    'DROP TABLE IF EXISTS altered; CREATE TABLE altered (a int); INSERT INTO altered VALUES (1)',
  )
  for (let n = 0; n < 3; n++) await manager.query('SELECT * FROM altered')
  await admin.query('ALTER TABLE altered ADD b int DEFAULT 2')
  const rows = await manager.transaction(async (connection) => {
    return (await connection.query('SELECT * FROM altered')).rows
  })
  assert.deepEqual(rows, [{ a: 1, b: 2 }])
})

test('a transaction that fails because a plan became stale succeeds when it is done again', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await admin.query(
    'DROP TABLE IF EXISTS altered; CREATE TABLE altered (a int); INSERT INTO altered VALUES (1)',
  )
  for (let n = 0; n < 3; n++) await manager.query('SELECT * FROM altered')
  await admin.query('ALTER TABLE altered ADD b int DEFAULT 2')
  const work = async (connection: Connection): Promise<unknown[]> => {
    await connection.query('SELECT 1')
    return (await connection.query('SELECT * FROM altered')).rows
  }
  await Promise.allSettled([manager.transaction(work)])
  assert.deepEqual(await manager.transaction(work), [{ a: 1, b: 2 }])
})

test('a prepared SELECT * goes on working after DDL of the same transaction, and of others here', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const select = 'SELECT * FROM altered'
  for (const ddl of [
    'ALTER TABLE altered ADD b int DEFAULT 2',
    'DROP TABLE altered; CREATE TABLE altered AS SELECT 1 AS a, 2 AS b',
    'CREATE TEMP TABLE altered ON COMMIT DROP AS SELECT 1 AS a, 2 AS b',
  ]) {
    await manager.query('DROP TABLE IF EXISTS altered; CREATE TABLE altered AS SELECT 1 AS a')
    for (let n = 0; n < 3; n++) await manager.query(select)
    await manager.transaction(async (connection) => {
      assert.deepEqual((await connection.query(select)).rows, [{ a: 1 }])
      await connection.query(ddl)
      for (let n = 0; n < 3; n++) assert.deepEqual((await connection.query(select)).rows, [{ a: 1, b: 2 }])
    })
  }
})

test(
  'prepared statements stay within maxPrepared, and prepare: false prepares none',
  { needs: ['sessions'] },
  async () => {
    const prepared = async (manager: ManagedConnection): Promise<number> => {
      for (let round = 0; round < 3; round++) {
        for (let n = 0; n < 10; n++) await manager.query(`SELECT ${n} AS n`)
      }
      const { rows } = await manager.query<{ n: number }>(
        'SELECT count(*)::int AS n FROM pg_prepared_statements',
      )
      return rows[0]!.n
    }
    await using few = new ManagedConnection(database.conninfo, { maxPrepared: 4 })
    assert.ok((await prepared(few)) <= 4)
    assert.ok(few.stats.prepared <= 4)
    await using many = new ManagedConnection(database.conninfo)
    assert.ok((await prepared(many)) >= 10)
    await using none = new ManagedConnection(database.conninfo, { prepare: false })
    assert.equal(await prepared(none), 0)
  },
)

test('a statement is prepared from its second use on', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const count = "SELECT count(*)::int AS n FROM pg_prepared_statements WHERE statement = 'SELECT 77'"
  const prepared = async (): Promise<number> => (await manager.query<{ n: number }>(count)).rows[0]!.n
  await manager.query('SELECT 77')
  assert.equal(await prepared(), 0)
  await manager.query('SELECT 77')
  assert.equal(await prepared(), 1)
  const long = `SELECT 1 /* ${'x'.repeat(16 * 1024)} */`
  for (let n = 0; n < 3; n++) await manager.query(long)
  const { rows } = await manager.query('SELECT 1 FROM pg_prepared_statements WHERE length(statement) > 16384')
  assert.equal(rows.length, 0)
})

test('DEALLOCATE ALL and DISCARD ALL do not spoil what follows', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (const forget of ['DEALLOCATE ALL', 'DISCARD ALL', 'deallocate all', 'SELECT 1; DEALLOCATE ALL']) {
    for (let n = 0; n < 3; n++) await manager.query('SELECT 5 AS n')
    await manager.query({ name: 'named', text: 'SELECT 6 AS n' })
    await manager.query(forget)
    assert.deepEqual((await manager.query('SELECT 5 AS n')).rows, [{ n: 5 }])
    assert.deepEqual((await manager.query({ name: 'named', text: 'SELECT 6 AS n' })).rows, [{ n: 6 }])
    await manager.transaction(async (connection) => {
      assert.deepEqual((await connection.query('SELECT 5 AS n')).rows, [{ n: 5 }])
    })
  }
})

// ---- batches

test('a batch answers with the results in order, and commits', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const results = await manager.batch([
    'INSERT INTO t VALUES (1)',
    { text: 'INSERT INTO t VALUES ($1, $2)', values: [2, 'two'] },
    { text: 'SELECT id, name FROM t ORDER BY id', rowMode: 'array' },
    { name: 'named', text: 'SELECT $1::int AS n', values: [3] },
  ])
  assert.deepEqual(
    results.map(({ command, rowCount }) => [command, rowCount]),
    [
      ['INSERT', 1],
      ['INSERT', 1],
      ['SELECT', 2],
      ['SELECT', 1],
    ],
  )
  assert.deepEqual(results[2]!.rows, [
    [1, null],
    [2, 'two'],
  ])
  assert.deepEqual(results[3]!.rows, [{ n: 3 }])
  assert.deepEqual(await admin.ids(), [1, 2])
})

test('a batch refuses limits of single statements, and what is no list, before anything is sent', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (const limit of [{ timeoutMillis: 50 }, { signal: AbortSignal.timeout(50) }, { query_timeout: 50 }]) {
    const { message } = await caught(manager.batch(['SELECT 1', { text: 'SELECT 2', ...limit }]), TypeError)
    assert.match(message, /^statement 1 of the batch has \w+ of its own/)
  }
  const { message } = await caught(manager.batch('SELECT 1' as never), TypeError)
  assert.equal(message, 'batch() takes an array of statements')
  assert.equal(manager.stats.connects, 0)
})

test('an empty batch is an empty answer', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  assert.deepEqual(await manager.batch([]), [])
})

for (const [name, first] of [
  ['plain statements', 'INSERT INTO t VALUES (1)'],
  ['statements of other kinds', 'SET LOCAL work_mem = 65536'],
] as const) {
  test(`a batch of ${name} is atomic: a failing statement takes everything back, and tells its index`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const error = (await reason(
      manager.batch([first, 'INSERT INTO t VALUES (2)', 'SELECT 1 / 0', 'INSERT INTO t VALUES (3)']),
    )) as pg.DatabaseError & { index: number }
    assert.ok(error instanceof pg.DatabaseError)
    assert.equal(error.code, '22012')
    assert.equal(error.index, 2)
    assert.deepEqual(await admin.ids(), [])
    assert.equal(manager.status, 'idle')
  })
}

test('the index is right for the first, for a syntax error, and when statements are prepared', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (let n = 0; n < 3; n++) {
    for (const bad of [0, 1, 2]) {
      const statements = ['SELECT 1', 'SELECT 2', 'SELECT 3']
      statements[bad] = n === 1 ? 'SELEC' : 'SELECT 1 / 0'
      assert.equal(((await reason(manager.batch(statements))) as { index?: number }).index, bad)
    }
  }
})

test('a batch whose deferred constraint fails at its end stores nothing', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (const more of ['SELECT 1', 'SET LOCAL work_mem = 65536']) {
    const error = await caught(
      manager.batch(['INSERT INTO t VALUES (1)', 'INSERT INTO late VALUES (1), (1)', more]),
      pg.DatabaseError,
    )
    assert.equal(error.code, '23505')
    assert.deepEqual(await admin.ids(), [])
    assert.equal(manager.status, 'idle')
  }
})

test('a batch refuses transaction control before anything is sent', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (const control of [
    'BEGIN',
    'START TRANSACTION',
    'COMMIT',
    'END',
    'ROLLBACK',
    'ABORT',
    'SAVEPOINT a',
    'RELEASE a',
    'ROLLBACK TO a',
    "PREPARE TRANSACTION 'x'",
    '/* sly */ cOmMiT',
    '-- sly\nCOMMIT',
    ';COMMIT',
    'SELECT 1; COMMIT',
    'SELECT 1; ROLLBACK; SELECT 2',
  ]) {
    await caught(manager.batch(['INSERT INTO t VALUES (1)', control]), TransactionOrderError)
  }
  assert.equal(manager.closed, true)
})

test('a batch with a text of several statements is atomic, or refused', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await reason(manager.batch(['INSERT INTO t VALUES (1)', 'INSERT INTO t VALUES (2); SELECT 1 / 0']))
  assert.deepEqual(await admin.ids(), [])
  assert.equal(manager.status, 'idle')
})

test('a batch refuses COPY and submittables', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await assert.rejects(manager.batch(['SELECT 1', 'COPY t FROM STDIN']), /statement 1 .*COPY/)
  await assert.rejects(manager.batch([{ submit: () => {} } as never]), /statement 0 .*submittable/)
})

test('a batch takes a mode, and a statement that needs a block', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const results = await manager.batch(
    ['LOCK TABLE t', "SELECT current_setting('transaction_isolation') AS level"],
    {
      isolationLevel: 'serializable',
    },
  )
  assert.deepEqual(results[1]!.rows, [{ level: 'serializable' }])
  await manager.batch(['LOCK TABLE t', 'INSERT INTO t VALUES (1)'])
  assert.deepEqual(await admin.ids(), [1])
  const error = await reason(manager.batch(['INSERT INTO t VALUES (2)'], { accessMode: 'read only' }))
  assert.equal((error as pg.DatabaseError).code, '25006')
})

test('the same text twice in a batch, prepared or not, answers twice', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (let n = 0; n < 3; n++) {
    const statements = [1, 2, 3].map((value) => ({ text: 'SELECT $1::int AS n', values: [value] }))
    const results = await manager.batch(statements)
    assert.deepEqual(
      results.map(({ rows }) => rows[0]),
      [{ n: 1 }, { n: 2 }, { n: 3 }],
    )
  }
})

test('a procedure that commits cannot break a batch in two', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await admin.query('CREATE OR REPLACE PROCEDURE committing() LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$')
  const error = await reason(manager.batch(['INSERT INTO t VALUES (1)', 'CALL committing()', 'SELECT 1 / 0']))
  assert.equal((error as pg.DatabaseError).code, '2D000')
  assert.deepEqual(await admin.ids(), [])
})
