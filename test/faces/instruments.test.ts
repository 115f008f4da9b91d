/** Tracing that patches pg's query(): one span for each statement, ended, its parent where it was asked for. */
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { SpanStatusCode } from '@opentelemetry/api'
import pg from 'pg'
import QueryStream from 'pg-query-stream'
import type { ManagedConnection } from 'pg-managed-connection'
import { StatementTimeoutError, type Connection } from 'pg-managed-connection'
import { asPool } from 'pg-managed-connection/pool'
import { assertSpans, inSpan, statementSpans, traced } from '../support/spans.js'
import { Cursor } from '../support/submittables.js'
import { openSuite } from '../support/suite.js'
import { openManager } from '../support/manager.js'

const { test, database } = await openSuite()

async function openConnected(): Promise<ManagedConnection & AsyncDisposable> {
  const manager = openManager(database.conninfo, { acquireTimeoutMillis: 5_000 })
  await manager.query('SELECT')
  return manager
}

// ---- OpenTelemetry's instrumentation

test('each statement gives one span, which ends and belongs to its caller', async () => {
  await using manager = await openConnected()
  using _traced = traced()
  const pool = asPool(manager)
  const ways: Record<string, readonly [() => Promise<unknown>, ...string[]]> = {
    'a one-shot': [() => manager.query('SELECT 1'), 'SELECT 1'],
    values: [() => manager.query('SELECT $1::int', [1]), 'SELECT $1::int'],
    'a name': [() => manager.query({ name: 'traced', text: 'SELECT 2' }), 'SELECT 2'],
    'several in one text': [() => manager.query('SELECT 1; SELECT 2'), 'SELECT 1; SELECT 2'],
    'a batch': [() => manager.batch(['SELECT 1', 'SELECT 2']), 'SELECT 1', 'SELECT 2'],
    'a transaction': [
      () =>
        manager.transaction(async (connection) => {
          await Promise.all([connection.query('SELECT 1'), connection.query('SELECT 2')])
          await connection.transaction((nested) => nested.query('SELECT 3'))
        }),
      'SELECT 1',
      'SELECT 2',
      'SELECT 3',
    ],
    use: [
      () =>
        manager.use(async (connection) => {
          await connection.query('SELECT 1')
          await connection.commit()
        }),
      'SELECT 1',
    ],
    'the pool': [() => pool.query('SELECT 1'), 'SELECT 1'],
    'a client of the pool': [
      async () => {
        const client = await pool.connect()
        await client.query('BEGIN')
        await client.query('COMMIT')
        client.release()
      },
      'BEGIN',
      'COMMIT',
    ],
  }
  for (const [what, [work, ...texts]] of Object.entries(ways)) {
    const spans = await statementSpans(work)
    assertSpans(spans, texts)
    for (const span of spans) assert.equal(span.status.code, SpanStatusCode.UNSET, what)
  }
  assert.equal(manager.stats.connects, 1)
})

test('a callback ends the span, too', async () => {
  await using manager = await openConnected()
  using _traced = traced()
  const spans = await statementSpans(
    () => new Promise((resolve) => manager.query('SELECT 1', () => setImmediate(resolve))),
  )
  assertSpans(spans, ['SELECT 1'])
})

test('pipelined one-shots and those that wait for a holder belong to their callers', async () => {
  await using manager = await openConnected()
  using _traced = traced()
  let holder: Connection | null = await manager.acquire()
  const asking = statementSpans(() => Promise.all([1, 2, 3].map((n) => manager.query(`SELECT ${n}`))))
  await inSpan('somebody else', async () => {
    await holder!.release()
    holder = null
  })
  assertSpans(await asking, ['SELECT 1', 'SELECT 2', 'SELECT 3'])
})

test('cursors and streams give one span, which ends with them', async () => {
  await using manager = await openConnected()
  using _traced = traced()
  const text = 'SELECT generate_series(1, 5) AS n'
  const spans = await statementSpans(() =>
    manager.use(async (connection) => {
      const cursor = connection.query(new Cursor(text))
      await cursor.read(10)
      await cursor.close()
      for await (const row of connection.query(new QueryStream(text))) void row
      for await (const row of connection.stream(text)) void row
      await connection.rollback()
    }),
  )
  assertSpans(spans, [text, text, text])
})

test('the span of what fails says so', async () => {
  await using manager = await openConnected()
  using _traced = traced()
  const fails: Record<string, () => Promise<unknown>> = {
    'SELECT 1/0': () => manager.query('SELECT 1/0'),
    'SELECT 2/0': () => manager.transaction((connection) => connection.query('SELECT 2/0')),
    'SELECT 3/0': () => manager.batch(['SELECT 3/0']),
    'SELECT 4/0 AS n': () =>
      manager.use((connection) => connection.query(new Cursor('SELECT 4/0 AS n')).read(1)),
  }
  for (const [text, work] of Object.entries(fails)) {
    const spans = await statementSpans(() => assert.rejects(work(), pg.DatabaseError))
    assertSpans(spans, [text])
    assert.equal(spans[0]!.status.code, SpanStatusCode.ERROR, text)
  }
  const limited = await statementSpans(() =>
    assert.rejects(manager.query({ text: 'SELECT pg_sleep(5)', timeoutMillis: 20 }), StatementTimeoutError),
  )
  assertSpans(limited, ['SELECT pg_sleep(5)'])
  const aborted = new AbortController()
  const asking = statementSpans(async () => {
    const answered = manager.query({ text: 'SELECT pg_sleep(4)', signal: aborted.signal })
    setImmediate(() => aborted.abort(new Error('left')))
    await answered.then(
      () => assert.fail('answered'),
      (reason: unknown) => assert.equal(reason, aborted.signal.reason),
    )
  })
  const spans = await asking
  assertSpans(spans, ['SELECT pg_sleep(4)'])
  assert.equal(spans[0]!.status.code, SpanStatusCode.ERROR)
})

test('a statement that nobody waits for crashes nothing that it would not crash untraced', async () => {
  await using manager = await openConnected()
  using _traced = traced()
  await assert.rejects(
    manager.use((connection) => {
      void connection.query('SELECT 1/0')
    }),
    { name: 'UnfinishedStatementError' },
  )
})

test('the comment of sqlcommenter reaches the server, and the transaction holds', async () => {
  await using manager = await openConnected()
  await manager.query('CREATE TABLE commented (n int)')
  using _traced = traced({ addSqlCommenterCommentToQueries: true })
  const spans = await statementSpans(async () => {
    for (let i = 0; i < 3; i++) {
      const { rows } = await manager.query<{ text: string }>('SELECT current_query() AS text')
      assert.match(rows[0]!.text, /^SELECT current_query\(\) AS text \/\*traceparent='[-0-9a-f]+'\*\/$/)
    }
    await manager.transaction((connection) => connection.query('INSERT INTO commented VALUES ($1)', [1]))
    await assert.rejects(
      manager.transaction(async (connection) => {
        await connection.query('INSERT INTO commented VALUES (2)')
        throw new Error('no')
      }),
    )
    await manager.batch(['INSERT INTO commented VALUES (3)', 'INSERT INTO commented VALUES (4)'])
    // Their own words decide how they travel: a comment is not taken for the first of them.
    await manager.transaction(async (connection) => {
      await connection.query('SAVEPOINT a')
      await connection.query('ROLLBACK TO a')
    })
  })
  assert.ok(spans.every(({ ended }) => ended))
  assert.equal(spans.length, 9)
  const { rows } = await manager.query('SELECT n FROM commented ORDER BY n')
  assert.deepEqual(rows, [{ n: 1 }, { n: 3 }, { n: 4 }])
  assert.equal(manager.stats.connects, 1)
})

test('what an instrument sends for itself is not sent: the trace context stays out of application_name', async () => {
  await using manager = await openConnected()
  using _traced = traced({ enableTraceContextPropagation: true })
  const shown = "SELECT current_setting('application_name') AS name"
  const spans = await statementSpans(async () => {
    const { rows } = await manager.query(shown)
    assert.deepEqual(rows, [{ name: '' }])
    await manager.transaction((connection) => connection.query('SELECT 1'))
  })
  assertSpans(spans, [shown, 'SELECT 1'])
  assert.equal(manager.stats.connects, 1)
})

test('instruments see whom a statement goes to, its values and its name, and never the password', async () => {
  await using manager = await openConnected()
  const seen: unknown[] = []
  using _traced = traced({ requestHook: (_span, info) => void seen.push(info), requireParentSpan: true })
  await manager.query('SELECT 1')
  assert.deepEqual(seen, [])
  const spans = await statementSpans(() =>
    manager.query({ name: 'seen', text: 'SELECT $1::int', values: [7] }),
  )
  const { host, port, user } = database.login
  const connection = { host, port, user, database: database.name }
  assert.deepEqual(seen, [{ connection, query: { text: 'SELECT $1::int', values: ['7'], name: 'seen' } }])
  assert.equal(spans[0]!.attributes['db.namespace'], database.name)
  assert.equal(spans[0]!.attributes['server.port'], port)
})

// ---- other manners of patching

type Query = (this: never, ...given: unknown[]) => unknown
const prototype = pg.Client.prototype as unknown as Record<string, Query | undefined>
const pgQuery = prototype.query!

/** Puts `make`'s function in the place of pg's query() while it is in scope. */
function patchQuery(make: (original: Query) => Query): Disposable {
  const original = prototype.query!
  prototype.query = make(original)
  return { [Symbol.dispose]: () => void (prototype.query = original) }
}

/** What an instrument noted: how each statement ended. */
type Noted = [text: string, end: string]

/** dd-trace's manner: the text is replaced on the query, which is found in the queue; its callback ends the span. */
function likeDatadog(noted: Noted[], comment: string): (original: Query) => Query {
  return (original) =>
    function (
      this: { _queryQueue: { callback?: (...given: unknown[]) => void; text: string }[] },
      ...given
    ): unknown {
      const query = (typeof given[0] === 'object' ? given[0] : { text: given[0] }) as { text: string }
      const { text } = query
      Object.defineProperty(query, 'text', { configurable: true, get: () => comment + text })
      given[0] = query
      const returned = original.apply(this as never, given)
      const queued = this._queryQueue.at(-1)!
      const { callback } = queued
      assert.ok(callback)
      queued.callback = function (this: unknown, error: unknown, ...rest: unknown[]): void {
        noted.push([text, error === null ? 'well' : String(error)])
        callback.call(this, error, ...rest)
      }
      return returned
    }
}

test('dd-trace’s manner: each query ends by its callback, and its comment goes along', async () => {
  await using manager = await openConnected()
  const noted: Noted[] = []
  using _patch = patchQuery(likeDatadog(noted, '/*dddbs=a*/ '))
  const { rows } = await manager.query<{ text: string }>('SELECT current_query() AS text')
  assert.equal(rows[0]!.text, '/*dddbs=a*/ SELECT current_query() AS text')
  await assert.rejects(manager.transaction((connection) => connection.query('SELECT 1/0')))
  await manager.use(async (connection) => {
    for await (const row of connection.stream('SELECT 3 AS n')) assert.deepEqual(row, { n: 3 })
    await connection.rollback()
  })
  assert.deepEqual(noted, [
    ['SELECT current_query() AS text', 'well'],
    ['SELECT 1/0', 'error: division by zero'],
    ['SELECT 3 AS n', 'well'],
  ])
})

test('X-Ray’s manner: pg’s own function is kept as __query, and what it returns is looked at', async () => {
  await using manager = await openConnected()
  const noted: unknown[] = []
  using _patch = patchQuery((original) => {
    prototype.__query = original
    return function (
      this: { __query: Query; host: string; connectionParameters: { user: string } },
      config: { text: string; values?: unknown },
      callback: (...given: unknown[]) => void,
    ): unknown {
      const ended = (error: unknown, ...rest: unknown[]): void => {
        noted.push([config.text, String(error), this.host, this.connectionParameters.user])
        callback(error, ...rest)
      }
      const query = this.__query.call(this as never, config.text, config.values, ended) as { name?: string }
      noted.push(query.name)
      return query
    } as unknown as Query
  })
  using _kept = { [Symbol.dispose]: () => void delete prototype.__query }
  const { host, user } = database.login
  assert.deepEqual((await manager.query('SELECT $1::int AS n', [1])).rows, [{ n: 1 }])
  await assert.rejects(manager.query('SELECT 1/0'))
  assert.deepEqual(noted, [
    undefined,
    ['SELECT $1::int AS n', 'null', host, user],
    undefined,
    ['SELECT 1/0', 'error: division by zero', host, user],
  ])
})

test('an instrument that throws, or gives the query to nobody, changes nothing', async () => {
  await using manager = await openConnected()
  const broken: Record<string, Query> = {
    throws: () => {
      throw new Error('broken')
    },
    rejects: () => Promise.reject(new Error('broken')),
    'does nothing': () => undefined,
    'asks for something else': function (this: never): unknown {
      return pgQuery.call(this, 'SELECT 2 AS n', () => {})
    },
    'gives another text': function (this: never, config: unknown, callback: unknown): unknown {
      return pgQuery.call(this, { ...(config as object), text: 'SELECT 2 AS n' }, callback)
    },
  }
  for (const [what, query] of Object.entries(broken)) {
    using _patch = patchQuery(() => query)
    assert.deepEqual((await manager.query('SELECT 1 AS n')).rows, [{ n: 1 }], what)
    await manager.transaction((connection) => connection.query('SELECT 1'))
  }
  using _patch = patchQuery(
    (original) =>
      function (this: never, config: unknown): unknown {
        return original.call(this, config, () => {
          throw new Error('broken')
        })
      },
  )
  assert.deepEqual((await manager.query('SELECT 1 AS n')).rows, [{ n: 1 }])
  assert.equal(manager.stats.connects, 1)
})

test('an instrument that passes the query on later hears of its end, too', async () => {
  await using manager = await openConnected()
  const ends: unknown[] = []
  using _patch = patchQuery(
    (original) =>
      async function (this: never, config: unknown): Promise<void> {
        await original.call(this, "SET application_name = 'x'")
        ends.push(await original.call(this, config))
      },
  )
  await manager.query('SELECT 1 AS n')
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(
    ends.map((result) => (result as pg.QueryResult).rows),
    [[{ n: 1 }]],
  )
  assert.deepEqual((await manager.query("SELECT current_setting('application_name') AS name")).rows, [
    { name: '' },
  ])
})

test('an instrument that guards the database refuses a statement by calling back with an error', async () => {
  await using manager = await openConnected()
  using _patch = patchQuery((original) => {
    return function (this: never, config: { text: string }, callback: (error: unknown) => void): unknown {
      if (config.text.includes('evil')) return void callback(new Error('blocked'))
      return original.call(this, config, callback)
    } as unknown as Query
  })
  await assert.rejects(manager.query("SELECT 'evil'"), /^Error: blocked$/)
  await assert.rejects(manager.batch(['SELECT 1', "SELECT 'evil'"]), /^Error: blocked$/)
  await manager.use(async (connection) => {
    await assert.rejects(connection.query("SELECT 'evil'"), /^Error: blocked$/)
    await assert.rejects(connection.query(new Cursor("SELECT 'evil'")).read(1), /^Error: blocked$/)
    assert.equal(connection.status, 'idle')
  })
  assert.deepEqual((await manager.query('SELECT 1 AS n')).rows, [{ n: 1 }])
})

test('a statement is shown in the async context of whoever asks for it', async () => {
  await using manager = await openConnected()
  const storage = new AsyncLocalStorage<string>()
  const seen: unknown[] = []
  using _patch = patchQuery(
    (original) =>
      function (this: never, ...given: unknown[]): unknown {
        seen.push(storage.getStore())
        return original.apply(this, given)
      },
  )
  await using holder = await manager.acquire({ autocommit: true })
  const waiting = storage.run('a', () => manager.query('SELECT 1'))
  await storage.run('b', () => holder.query('SELECT 2'))
  await storage.run('c', () => holder.release())
  await waiting
  assert.deepEqual(seen, ['a', 'b'])
})

test('pg’s own query() is known by its words: another pg would be taken for a patched one, and cost more', () => {
  const source = Function.prototype.toString.call(pgQuery)
  assert.ok(source.includes('Client was passed a null or undefined query'))
})

test('with nothing patched nothing is shown', async () => {
  await using manager = await openConnected()
  {
    using _traced = traced()
    assert.equal((await statementSpans(() => manager.query('SELECT 1'))).length, 1)
  }
  assert.equal((await statementSpans(() => manager.query('SELECT 1'))).length, 0)
})
