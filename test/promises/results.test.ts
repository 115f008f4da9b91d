/** Results are exactly pg's: each query is asked of a plain `pg.Client`, too, and the answers compared. */
import assert from 'node:assert/strict'
import pg from 'pg'
import type { QueryConfig } from 'pg-managed-connection'
import { ManagedConnection } from '../support/managed.js'
import { openSuite } from '../support/suite.js'

const { test, database } = await openSuite()

type Answer = { result: unknown } | { error: Record<string, unknown> }
type Query = (config: string | QueryConfig) => Promise<unknown>

/** What came back, in a form that `deepEqual` compares to the last bit, prototypes of rows included. */
async function answer(query: Query, config: string | QueryConfig): Promise<Answer> {
  try {
    const result = await query(config)
    return { result: Array.isArray(result) ? result.map(publicPart) : publicPart(result as pg.QueryResult) }
  } catch (error) {
    const { message, name, ...fields } = error as Error & Record<string, unknown>
    delete fields.stack
    return { error: { name, message, isDatabaseError: error instanceof pg.DatabaseError, ...fields } }
  }
}

function publicPart(result: pg.QueryResult): unknown {
  const { command, rowCount, oid, rows, fields } = result
  // From another thread come plain objects, so the class of the fields has a test of its own.
  const told = fields.map((field) => ({ ...field }))
  return {
    isResult: result instanceof pg.Result,
    command,
    rowCount,
    oid,
    rows: rows as unknown[],
    fields: told,
  }
}

/** Asks pg once, and us often enough that the statement is unnamed, then prepared, then described from memory. */
async function compare(
  configs: readonly (string | QueryConfig)[],
  conninfo = database.conninfo,
): Promise<void> {
  const client = new pg.Client({ connectionString: undefined, ...clientConfig() })
  await client.connect()
  await using manager = new ManagedConnection(conninfo)
  try {
    for (const config of configs) {
      const expected = await answer((one) => client.query(one as pg.QueryConfig), config)
      const what = typeof config === 'string' ? config : config.text
      for (let use = 1; use <= 3; use++) {
        assert.deepEqual(
          await answer((one) => manager.query(one), config),
          expected,
          `one-shot ${use}: ${what}`,
        )
      }
      for (let use = 1; use <= 3; use++) {
        const inside = await manager.use(async (connection) => {
          const got = await answer((one) => connection.query(one), config)
          await connection.rollback()
          return got
        })
        assert.deepEqual(inside, expected, `holder ${use}: ${what}`)
      }
    }
  } finally {
    await client.end()
  }
}

function clientConfig(): pg.ClientConfig {
  const { host, port, user } = database.login
  return { host: host!, port: Number(port), user: user!, database: database.name }
}

test('every built-in type, alone, as an array and as NULL', async () => {
  const values: Readonly<Record<string, string>> = {
    bool: 'true',
    int2: '-32768',
    int4: '2147483647',
    int8: '9007199254740993',
    float4: '1.5',
    float8: '1e308',
    numeric: '123456789012345678901234567890.123',
    money: '12.34',
    text: 'ünïcode "quoted" \\ {}',
    varchar: 'x',
    bpchar: 'pad',
    name: 'a name',
    '"char"': 'c',
    bytea: '\\x00ff10',
    date: '2024-02-29',
    time: '23:59:59.999',
    timetz: '12:00+02',
    timestamp: '2024-02-29 12:34:56.789',
    timestamptz: '2024-02-29 12:34:56.789+00',
    interval: '1 year 2 months 3 days 04:05:06.789',
    uuid: '00000000-0000-0000-0000-000000000001',
    json: '{"a": [1, null, "x"]}',
    jsonb: '{"a": [1, null, "x"]}',
    xml: '<a/>',
    inet: '192.168.0.1/24',
    cidr: '10.0.0.0/8',
    macaddr: '08:00:2b:01:02:03',
    macaddr8: '08:00:2b:01:02:03:04:05',
    point: '(1,2)',
    line: '{1,2,3}',
    lseg: '[(0,0),(1,1)]',
    box: '(1,1),(0,0)',
    path: '((0,0),(1,1))',
    polygon: '((0,0),(1,1),(1,0))',
    circle: '<(1,2),3>',
    bit: '1',
    varbit: '1010',
    oid: '26',
    regclass: 'pg_class',
    regtype: 'int4',
    tsvector: "'a':1 'b':2",
    tsquery: "'a' & 'b'",
    int4range: '[1,5)',
    nummultirange: '{[1,2)}',
    daterange: '[2024-01-01,2024-02-01)',
    pg_lsn: '16/B374D848',
    xid: '42',
  }
  await compare(
    Object.entries(values).flatMap(([type, value]) => {
      const literal = pg.escapeLiteral(value)
      return [
        `SELECT ${literal}::${type} AS value, NULL::${type} AS nothing`,
        `SELECT ARRAY[${literal}::${type}, NULL] AS list, ARRAY[]::${type}[] AS empty`,
      ]
    }),
  )
})

test('values of every kind, as parameters', async () => {
  const values: unknown[] = [
    1,
    -1.5,
    true,
    false,
    null,
    undefined,
    'text',
    '',
    10n ** 20n,
    new Date(1_700_000_000_123),
    Buffer.from([0, 255, 10]),
    new Uint8Array([1, 2, 3]),
    { a: [1, 'x'] },
    { toPostgres: () => 'converted' },
  ]
  const types = [
    'text',
    'text',
    'text',
    'text',
    'text',
    'text',
    'text',
    'text',
    'text',
    'timestamptz',
    'bytea',
    'bytea',
    'jsonb',
    'text',
  ]
  await compare([
    ...values.map((value, i) => ({ text: `SELECT $1::${types[i]!} AS value`, values: [value] })),
    { text: 'SELECT $1::int[] AS list', values: [[1, null, 3]] },
    { text: 'SELECT $1::text[] AS list', values: [['a "b"', 'c\\d', null, '']] },
    {
      text: 'SELECT $1::int[][] AS list',
      values: [
        [
          [1, 2],
          [3, 4],
        ],
      ],
    },
    {
      text: 'SELECT $1::text AS a, $2::text AS b, $1::text AS again',
      values: ['x'.repeat(100_000), 'ü'.repeat(50_000)],
    },
  ])
})

test('values of every length arrive whole, wherever they fall in a chunk of memory', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const lengths = Array.from({ length: 600 }, (_, i) => (i * 7919) % 70_000)
  const texts = ['SELECT length($1) AS n', 'SELECT length($1::text) + length($2::text) AS n']
  await Promise.all(
    lengths.map(async (length) => {
      const value = 'ü'.repeat(length)
      const one = await manager.query<{ n: number }>(texts[0]!, [value])
      const two = await manager.query<{ n: number }>(texts[1]!, [value, 'y'.repeat(length)])
      const bytes = await manager.query<{ n: number }>('SELECT length($1::bytea) AS n', [
        Buffer.alloc(length),
      ])
      assert.deepEqual([one.rows[0]!.n, two.rows[0]!.n, bytes.rows[0]!.n], [length, 2 * length, length])
    }),
  )
})

test('rows as arrays, duplicate and odd column names, no columns, no rows', async () => {
  const odd = `SELECT 1 AS "__proto__", 2 AS "constructor", 3 AS "", 4 AS "with space", 5 AS "ünï", 6 AS "toString"`
  await compare([
    'SELECT 1 AS a, 2 AS a, 3 AS b',
    { text: 'SELECT 1 AS a, 2 AS a, 3 AS b', rowMode: 'array' },
    { text: 'SELECT $1::int AS a, NULL AS b', values: [1], rowMode: 'array' },
    odd.replace('1 AS "__proto__", ', ''),
    { text: odd, rowMode: 'array' },
    'SELECT',
    'SELECT FROM generate_series(1, 3)',
    'SELECT 1 AS a WHERE false',
    { text: 'SELECT $1::int AS a WHERE false', values: [1] },
    'VALUES (1, $$x$$), (2, NULL)',
    'TABLE pg_catalog.pg_tablespace',
    'WITH a AS (SELECT 1 AS n) SELECT * FROM a',
    'SELECT n, repeat($$x$$, n) AS x FROM generate_series(1, 300) AS n',
    'SHOW server_version_num',
    'EXPLAIN (COSTS OFF) SELECT 1',
  ])
})

test('commands with their tags and counts, and empty ones', async () => {
  await database.admin.query('CREATE TABLE things (id int PRIMARY KEY, name text)')
  await compare([
    '',
    '   ',
    '-- a comment',
    ';',
    'SET work_mem = 1024',
    'CREATE TEMP TABLE IF NOT EXISTS one (n int); DROP TABLE one',
    'UPDATE things SET name = $$x$$',
    'DELETE FROM things RETURNING *',
    { text: 'DELETE FROM things WHERE id = $1 RETURNING id', values: [1] },
    'DO $$ BEGIN END $$',
    'LISTEN things',
    'SELECT 1 AS a; SELECT 2 AS b, 3 AS c; SELECT WHERE false',
    'SELECT 1; SELECT',
  ])
})

test('errors, with every field that the server sends', async () => {
  await database.admin.query(`
    CREATE TABLE strict (id int PRIMARY KEY, n int NOT NULL CHECK (n > 0));
    CREATE TABLE child (id int REFERENCES strict);
    INSERT INTO strict VALUES (1, 1);
    CREATE FUNCTION complain() RETURNS int LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'no' USING DETAIL = 'some detail', HINT = 'a hint', ERRCODE = 'P0042', TABLE = 'strict'; END $$`)
  await compare([
    'SELEC 1',
    'SELECT 1/0',
    'SELECT nothing FROM strict',
    'SELECT * FROM not_there',
    'INSERT INTO strict VALUES (1, 1)',
    'INSERT INTO strict VALUES (2, NULL)',
    'INSERT INTO strict VALUES (2, -1)',
    'INSERT INTO child VALUES (99)',
    { text: 'INSERT INTO strict VALUES ($1, $2)', values: [1, 1] },
    { text: 'SELECT $1::int', values: ['x'] },
    { text: 'SELECT 1; SELECT $1::int', values: [1] },
    'SELECT complain()',
    "SELECT 'a\\'",
  ])
})

const upper = { getTypeParser: () => (value: string) => `<${value}>` } as unknown as pg.CustomTypesConfig

test('types of the user’s own, for one query and for all', async () => {
  await compare([
    { text: 'SELECT 1 AS n, $$x$$ AS t', types: upper },
    { text: 'SELECT $1::int AS n', values: [1], types: upper },
    { text: 'SELECT $1::int AS n', values: [1] },
  ])
  const before = pg.types.getTypeParser(20, 'text')
  await using another = new ManagedConnection(database.conninfo)
  for (let use = 0; use < 3; use++) await another.query('SELECT 8::int8 AS n')
  pg.types.setTypeParser(20, (value) => BigInt(value))
  try {
    // A statement that is prepared and described already takes the parser of today.
    assert.deepEqual((await another.query('SELECT 8::int8 AS n')).rows, [{ n: 8n }])
  } finally {
    pg.types.setTypeParser(20, before as (value: string) => unknown)
  }
})

// A worker parses with what attach() was given.
test('types of the user’s own, for the client', { needs: ['own thread'] }, async () => {
  await using manager = new ManagedConnection({ ...clientConfig(), types: upper } as never)
  for (let use = 0; use < 3; use++) {
    assert.deepEqual((await manager.query('SELECT 7 AS n')).rows, [{ n: '<7>' }])
  }
})

test('fields are of the class that pg has for them', { needs: ['own thread'] }, async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const client = new pg.Client({ connectionString: undefined, ...clientConfig() })
  await client.connect()
  try {
    const classOf = ({ fields: [field] }: pg.QueryResult): unknown => Object.getPrototypeOf(field)
    assert.equal(classOf(await manager.query('SELECT 1')), classOf(await client.query('SELECT 1')))
  } finally {
    await client.end()
  }
})
