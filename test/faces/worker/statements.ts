/** Tests of statements and what they give, for every face. */
import assert from 'node:assert/strict'
import pg from 'pg'
import { StatementTimeoutError, TransactionOrderError, type StreamOptions } from 'pg-managed-connection'
import { caught, outcome, reason } from '../../support/caught.js'
import { Cursor } from '../../support/submittables.js'
import { within } from '../../support/wait.js'
import type { Suite } from '../../support/worker/face.js'

const RAW = { getTypeParser: (oid: number) => (text: string) => `${oid}:${text}` }

export function testStatements({ test, face }: Suite): void {
  test('query takes all of its forms', async () => {
    await using faced = face.open()
    const { manager } = faced
    const plain = await manager.query('SELECT 1 AS one')
    assert.equal(plain.command, 'SELECT')
    assert.equal(plain.rowCount, 1)
    assert.deepEqual(plain.rows, [{ one: 1 }])
    assert.equal(plain.fields[0]!.name, 'one')
    assert.equal(plain.fields[0]!.dataTypeID, 23)
    const text = 'SELECT $1::int AS a, $2::text AS b'
    const values = [7, 'x']
    assert.deepEqual((await manager.query(text, values)).rows, [{ a: 7, b: 'x' }])
    assert.deepEqual((await manager.query({ text, values })).rows, [{ a: 7, b: 'x' }])
    assert.deepEqual((await manager.query({ text }, values)).rows, [{ a: 7, b: 'x' }])
    assert.deepEqual((await manager.query({ text, values, rowMode: 'array' })).rows, [[7, 'x']])
    assert.deepEqual((await manager.query({ text, values, name: 'a name' })).rows, [{ a: 7, b: 'x' }])
    const called = await new Promise((resolve, reject) => {
      manager.query(text, values, (error, result) =>
        (error as Error | null) === null ? resolve(result.rows) : reject(error),
      )
    })
    assert.deepEqual(called, [{ a: 7, b: 'x' }])
    const failed = await new Promise((resolve) => {
      manager.query('SELECT 1 / 0', (error) => resolve(error))
    })
    assert.equal((failed as { code: string }).code, '22012')
    await manager.use(async (connection) => {
      assert.deepEqual((await connection.query(text, values)).rows, [{ a: 7, b: 'x' }])
      const row = await new Promise((resolve) => {
        connection.query({ text, values }, (_error, { rows }) => resolve(rows[0]))
      })
      assert.deepEqual(row, { a: 7, b: 'x' })
      const several = (await connection.query('SELECT 1 AS a; SELECT 2 AS b')) as unknown
      assert.deepEqual(
        (several as { rows: unknown[] }[]).map(({ rows }) => rows),
        [[{ a: 1 }], [{ b: 2 }]],
      )
      await connection.rollback()
    })
  })

  test('an error says who asked, where the server or the connection is what failed', async () => {
    await using faced = face.open()
    const { manager } = faced
    const asks: Record<string, () => Promise<unknown>> = {
      'a one-shot': () => manager.query('SELECT 1 / 0'),
      'a one-shot that has timed out': () =>
        manager.query({ text: 'SELECT pg_sleep(10)', timeoutMillis: 50 }),
      'a batch': () => manager.batch(['SELECT 1', 'SELECT 1 / 0']),
      'a statement of a transaction': () =>
        manager.transaction((connection) => connection.query('SELECT 1 / 0')),
      'a transaction that was not ended': () => manager.use((connection) => connection.query('SELECT 1')),
      'one of many': () => Promise.all([manager.query('SELECT 1'), manager.query('SELECT 1 / 0')]),
      'one who waits in vain': () =>
        manager.use(() => manager.use(() => {}, { detached: true, timeoutMillis: 20 })),
    }
    await manager.query('CREATE TEMP TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)')
    const twice = 'INSERT INTO once VALUES (1), (1)'
    Object.assign(asks, {
      'a COMMIT': () => manager.transaction((connection) => connection.query(twice)),
      'a commit()': () =>
        manager.use(async (connection) => {
          await connection.query(twice)
          await connection.commit()
        }),
      'a COMMIT inside a holder': () =>
        manager.use((connection) => connection.transaction((inner) => inner.query(twice))),
      'one whose connection is lost': () => manager.query('SELECT pg_terminate_backend(pg_backend_pid())'),
    })
    const theAsker = async (ask: () => Promise<unknown>): Promise<void> => {
      await ask()
    }
    for (const [what, ask] of Object.entries(asks)) {
      const error = (await reason(theAsker(ask))) as Error
      assert.match(error.stack ?? '', /theAsker/, what)
      assert.ok(error.stack!.includes(error.message), what)
    }
    const own = new Error('own')
    const { stack } = own
    const types = {
      getTypeParser: () => () => {
        throw own
      },
    }
    assert.equal(await reason(manager.query({ text: 'SELECT 1', types })), own)
    assert.equal(own.stack, stack)
    const told = (await reason(manager.query('SELECT 1 / 0'))) as Error
    const before = told.stack
    const stop = new AbortController()
    const stopped = reason(manager.query({ text: 'SELECT pg_sleep(10)', signal: stop.signal }))
    setTimeout(() => stop.abort(told), 50)
    assert.equal(await stopped, told)
    assert.equal(told.stack, before)
    const signal = AbortSignal.abort(own)
    assert.equal(await reason(manager.query({ text: 'SELECT 1', signal })), own)
    assert.equal(own.stack, stack)
  })

  test('columns of the same name, of no name and without any', async () => {
    await using faced = face.open()
    const { manager } = faced
    assert.deepEqual((await manager.query('SELECT 1 AS a, 2 AS a')).rows, [{ a: 2 }])
    assert.deepEqual((await manager.query({ text: 'SELECT 1 AS a, 2 AS a', rowMode: 'array' })).rows, [
      [1, 2],
    ])
    assert.deepEqual((await manager.query('SELECT FROM generate_series(1, 3)')).rows, [{}, {}, {}])
    const proto = await manager.query('SELECT 1 AS "__proto__"')
    assert.deepEqual(Object.keys(proto.rows[0] as object), ['__proto__'])
    const created = await manager.query('CREATE TEMP TABLE empty (id int)')
    assert.equal(created.command, 'CREATE')
    assert.equal(created.rowCount, null)
    assert.deepEqual(created.rows, [])
  })

  test('values come and go as pg has them', async () => {
    await using faced = face.open()
    const { manager } = faced
    const date = new Date('2026-01-02T03:04:05.678Z')
    const bytes = Buffer.from([0, 1, 254, 255])
    const point = { toPostgres: () => '(1,2)' }
    const { rows } = await manager.query(
      `SELECT $1::timestamptz AS at, $2::bytea AS bytes, $3::jsonb AS json, $4::int[] AS list, $5::point AS point,
              $6::int8 AS big, $7::text AS nothing, $8::bool AS yes, $9::float8 AS float, $10::bytea[] AS many,
              '1 day 02:03:04'::interval AS long, ARRAY['1 day'::interval, NULL] AS longs, $11::text AS slice`,
      [
        date,
        bytes,
        { a: [1, { b: null }] },
        [1, null, 3],
        point,
        9007199254740993n,
        undefined,
        true,
        1.5,
        [bytes, bytes],
        Buffer.from('xxabcxx').subarray(2, 5),
      ],
    )
    const row = rows[0] as Record<string, unknown>
    assert.deepEqual(row['at'], date)
    assert.ok(row['at'] instanceof Date)
    assert.ok(Buffer.isBuffer(row['bytes']))
    assert.deepEqual(row['bytes'], bytes)
    assert.deepEqual(row['json'], { a: [1, { b: null }] })
    assert.deepEqual(row['list'], [1, null, 3])
    assert.deepEqual(row['point'], { x: 1, y: 2 })
    assert.equal(row['big'], '9007199254740993')
    assert.equal(row['nothing'], null)
    assert.equal(row['yes'], true)
    assert.equal(row['float'], 1.5)
    const many = row['many'] as Buffer[]
    assert.ok(many.every((one) => Buffer.isBuffer(one) && one.equals(bytes)))
    const long = row['long'] as { days: number; toPostgres(): string }
    assert.equal(long.constructor.name, 'PostgresInterval')
    assert.equal(long.days, 1)
    assert.equal(long.toPostgres(), '4 seconds 3 minutes 2 hours 1 days')
    const longs = row['longs'] as [typeof long, null]
    assert.equal(longs[0].constructor.name, 'PostgresInterval')
    assert.equal(longs[1], null)
    assert.equal(row['slice'], 'abc')
  })

  test('types of the query parse its result, classes and functions too', async () => {
    await using faced = face.open()
    const { manager } = faced
    class Money {
      readonly text: string
      constructor(text: string) {
        this.text = text
      }
    }
    const types = {
      getTypeParser: () => (text: string) => new Money(text),
    } as unknown as pg.CustomTypesConfig
    const { rows } = await manager.query({ text: 'SELECT 12.50::numeric AS n, NULL AS nothing', types })
    assert.deepEqual(rows, [{ n: new Money('12.50'), nothing: null }])
    assert.ok((rows[0] as { n: unknown }).n instanceof Money)
    const raw = await manager.query({ text: 'SELECT 1 AS n', types: RAW as never, rowMode: 'array' })
    assert.deepEqual(raw.rows, [['23:1']])
    const [batched] = await manager.batch([{ text: 'SELECT 1 AS n', types: RAW as never }])
    assert.deepEqual(batched!.rows, [{ n: '23:1' }])
    await manager.use(async (connection) => {
      const inTurn = await connection.query({ text: 'SELECT 1 AS n', types: RAW as never })
      assert.deepEqual(inTurn.rows, [{ n: '23:1' }])
      await connection.rollback()
    })
    const failing = {
      getTypeParser: () => () => {
        throw new Error('cannot parse')
      },
    }
    await assert.rejects(manager.query({ text: 'SELECT 1', types: failing as never }), /cannot parse/)
  })

  test("an error of the server is pg's own, with all fields", async () => {
    await using faced = face.open()
    const { manager } = faced
    await manager.query('CREATE TEMP TABLE unique_ones (id int PRIMARY KEY)')
    const insert = 'INSERT INTO unique_ones VALUES (1)'
    await manager.query(insert)
    const error = await caught(manager.query(insert), pg.DatabaseError)
    assert.equal(error.code, '23505')
    assert.equal(error.constraint, 'unique_ones_pkey')
    assert.equal(error.table, 'unique_ones')
    assert.equal(error.severity, 'ERROR')
    assert.match(error.detail ?? '', /already exists/)
    assert.equal(error.name, 'error')
    assert.ok(error.length > 0)
    const inTurn = await reason(manager.transaction((connection) => connection.query('SELECT nothing')))
    assert.ok(inTurn instanceof pg.DatabaseError)
    assert.equal(inTurn.code, '42703')
    assert.equal(inTurn.position, '8')
  })

  test('a statement is cancelled by its signal and by its time', async () => {
    await using faced = face.open()
    const { manager } = faced
    const controller = new AbortController()
    const why = new Error('why')
    setTimeout(() => controller.abort(why), 30)
    const text = 'SELECT pg_sleep(30)'
    const { signal } = controller
    assert.equal(await reason(manager.query({ text, signal })), why)
    const error = await caught(manager.query({ text, timeoutMillis: 30 }), StatementTimeoutError)
    assert.equal(error.timeoutMillis, 30)
    assert.equal(error.statement, text)
    assert.ok(error.cause instanceof pg.DatabaseError)
    await manager
      .transaction(async (connection) => {
        const inner = new AbortController()
        setTimeout(() => inner.abort(why), 30)
        await connection
          .transaction(async (nested) => {
            assert.equal(await reason(nested.query({ text, signal: inner.signal })), why)
            assert.equal(connection.status, 'unknown' as never)
            throw new Error('undo')
          })
          .catch(() => {})
        await connection.query('SELECT 1')
      })
      .catch((failure: unknown) => assert.ok(!(failure instanceof Error), String(failure)))
  })

  test('a batch is atomic, and says which statement failed', async () => {
    await using faced = face.open()
    const { manager } = faced
    await manager.query('CREATE TEMP TABLE batched (id int PRIMARY KEY)')
    const results = await manager.batch([
      'INSERT INTO batched VALUES (1)',
      { text: 'INSERT INTO batched VALUES ($1) RETURNING id', values: [2] },
      { text: 'SELECT id FROM batched ORDER BY id', rowMode: 'array' },
    ])
    assert.deepEqual(
      results.map(({ command, rows }) => [command, rows]),
      [
        ['INSERT', []],
        ['INSERT', [{ id: 2 }]],
        ['SELECT', [[1], [2]]],
      ],
    )
    assert.deepEqual(await manager.batch([]), [])
    const error = await reason(
      manager.batch(['INSERT INTO batched VALUES (3)', 'INSERT INTO batched VALUES (1)']),
    )
    assert.equal((error as { index: number }).index, 1)
    assert.equal((error as { code: string }).code, '23505')
    await caught(manager.batch(['SELECT 1', 'COMMIT']), TransactionOrderError)
    const { rows } = await manager.query('SELECT count(*)::int AS n FROM batched')
    assert.equal((rows[0] as { n: number }).n, 2)
    const explicit = await manager.batch(["SELECT current_setting('transaction_isolation') AS level"], {
      isolationLevel: 'repeatable read',
    })
    assert.deepEqual(explicit[0]!.rows, [{ level: 'repeatable read' }])
  })

  test('a hundred thousand rows and ten megabytes arrive whole', async () => {
    await using faced = face.open()
    const { manager } = faced
    const { rows } = await manager.query<{ n: number; t: string }>(
      "SELECT n, 'row ' || n AS t FROM generate_series(1, 100000) AS n",
    )
    assert.equal(rows.length, 100_000)
    assert.deepEqual(rows[99_999], { n: 100_000, t: 'row 100000' })
    const sent = Buffer.alloc(10_000_000, 7)
    const back = await manager.query<{ bytes: Buffer }>('SELECT $1::bytea AS bytes', [sent])
    assert.ok(Buffer.isBuffer(back.rows[0]!.bytes))
    assert.ok(back.rows[0]!.bytes.equals(sent))
    assert.equal(sent.length, 10_000_000)
  })

  test('a stream gives rows a batch at a time, and may be left', async () => {
    await using faced = face.open()
    await faced.manager.use(async (connection) => {
      const seen: number[] = []
      for await (const row of connection.stream<{ n: number }>(
        'SELECT generate_series(1, $1::int) AS n',
        [1_000],
        { batchSize: 70 },
      )) {
        seen.push(row.n)
      }
      assert.equal(seen.length, 1_000)
      assert.deepEqual(seen.slice(0, 3), [1, 2, 3])
      for await (const row of connection.stream<{ n: number }>('SELECT generate_series(1, 1000000) AS n')) {
        if (row.n === 250) break
      }
      const kinds = []
      const text = "SELECT '\\x00ff'::bytea AS bytes, '1 day'::interval AS long, now() AS at"
      for await (const row of connection.stream(text)) kinds.push(row as Record<string, unknown>)
      assert.ok(Buffer.isBuffer(kinds[0]!['bytes']))
      assert.equal((kinds[0]!['long'] as object).constructor.name, 'PostgresInterval')
      assert.ok(kinds[0]!['at'] instanceof Date)
      for await (const row of connection.stream('SELECT 1 AS n', [], {
        types: RAW as never,
        rowMode: 'array',
      })) {
        assert.deepEqual(row, ['23:1'])
      }
      assert.deepEqual((await connection.query('SELECT 1 AS one')).rows, [{ one: 1 }])
      await connection.rollback()
    })
  })

  test('a stream has limits, ends with its signal, and speaks alone', async () => {
    const slow = 'SELECT n, pg_sleep(CASE WHEN n > 200 THEN 5 ELSE 0 END) FROM generate_series(1, 300) AS n'
    await using faced = face.open()
    await faced.manager.use(async (connection) => {
      const drain = async (options: StreamOptions): Promise<void> => {
        for await (const _row of connection.stream(slow, [], options));
      }
      await caught(drain({ timeoutMillis: 100 }), StatementTimeoutError)
      await connection.rollback()
      const why = new Error('enough')
      const abort = new AbortController()
      setTimeout(() => abort.abort(why), 100)
      assert.equal(await reason(drain({ signal: abort.signal })), why)
      await connection.rollback()
      for await (const _row of connection.stream('SELECT 1')) {
        await caught(connection.query('SELECT 2'), TransactionOrderError)
      }
      await connection.query('SELECT 3')
      await connection.commit()
    })
    assert.equal(faced.owner.stats.connects, 1)
    const own = { text: 'SELECT 1', signal: AbortSignal.timeout(10_000) }
    await caught(faced.manager.batch([own]), TypeError)
  })

  test('a stream that is aborted between two fetches makes no more of them', async () => {
    const slow = 'SELECT n, pg_sleep(CASE WHEN n > 100 THEN 30 ELSE 0 END) FROM generate_series(1, 300) AS n'
    await using faced = face.open()
    const abort = new AbortController()
    const why = new Error('enough')
    const holder = faced.manager.transaction(async (connection) => {
      let read = 0
      for await (const _row of connection.stream(slow, [], { signal: abort.signal }))
        if (++read === 100) abort.abort(why)
    })
    assert.equal(await within(reason(holder), 'the abort', 5_000), why)
  })

  test('a parser that refuses a value of a batch spoils no later result', async () => {
    await using faced = face.open()
    const { manager } = faced
    const refuse = (text: string): string => {
      if (text === 'bad') throw new Error('refused')
      return text
    }
    const types = { getTypeParser: () => refuse } as never
    const batch = (value: string): Promise<unknown> =>
      manager.batch([{ text: 'SELECT $1::text AS a', values: [value], types }, 'SELECT 1 AS b'])
    // Until the columns are described once and for all, and then only referred to.
    for (const value of ['x', 'x', 'bad', 'x', 'bad']) {
      const settled = await outcome(batch(value))
      assert.equal(settled.status, value === 'bad' ? 'rejected' : 'fulfilled')
    }
    for (let n = 0; n < 3; n++) assert.deepEqual((await manager.query('SELECT 1 AS b')).rows, [{ b: 1 }])
  })

  test('a stream that fails tells so, and so does a wrong option of it', async () => {
    await using faced = face.open()
    await faced.manager.use(async (connection) => {
      await assert.rejects(async () => {
        for await (const _row of connection.stream('SELECT 1 / (n - 5) FROM generate_series(1, 10) AS n'));
      }, /division by zero/)
      await connection.rollback()
      await assert.rejects(async () => {
        for await (const _row of connection.stream('SELECT 1', [], { batchSize: 0 }));
      }, RangeError)
      const controller = new AbortController()
      const text = 'SELECT generate_series(1, 1000) AS n'
      await assert.rejects(async () => {
        for await (const row of connection.stream<{ n: number }>(text, [], {
          batchSize: 10,
          signal: controller.signal,
        })) {
          if (row.n === 15) controller.abort(new Error('enough'))
        }
      }, /enough/)
      await connection.rollback()
    })
  })

  test('a submittable is refused where it cannot work', async () => {
    await using faced = face.open()
    const { manager } = faced
    await assert.rejects(manager.query(new Cursor('SELECT 1') as never), TypeError)
    await assert.rejects(manager.batch([new Cursor('SELECT 1') as never]), TypeError)
    if (!face.acrossThreads) return
    await manager.use((connection) => {
      assert.throws(() => connection.query(new Cursor('SELECT 1')), /cannot cross threads/)
    })
  })

  test('one-shots that are slow do not keep the answers of others back', async () => {
    await using faced = face.open()
    const { manager } = faced
    const fast = manager.query('SELECT 1 AS one')
    const slow = manager.query('SELECT pg_sleep(0.5)')
    const result = await within(fast, 'the fast one', 300)
    assert.deepEqual(result.rows, [{ one: 1 }])
    await slow
  })

  test('rows whose signal aborts while they are opened are never fetched', async () => {
    await using faced = face.open()
    const { manager } = faced
    await manager.use(async (connection) => {
      const abort = new AbortController()
      const why = new Error('enough')
      const rows = connection.stream('SELECT pg_sleep(20)', [], { signal: abort.signal })
      const asked = reason(rows.next())
      abort.abort(why)
      assert.equal(await within(asked, 'the abort'), why)
    })
  })
}
