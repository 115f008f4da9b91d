/** Whatever replaces parts of pg's client: what the library sends is what the server runs, or the connection is lost. */
import assert from 'node:assert/strict'
import pg from 'pg'
import { ConnectionLostError, ManagedConnection } from 'pg-managed-connection'
import { endSoon, openManager } from '../support/manager.js'
import { Cursor } from '../support/submittables.js'
import { openSuite } from '../support/suite.js'
import { within } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database
const prototype = pg.Client.prototype as unknown as Record<string, (...given: unknown[]) => unknown>

function open(): ManagedConnection & AsyncDisposable {
  return openManager(database.conninfo, { acquireTimeoutMillis: 5_000 })
}

/** Replaces a method of pg's client while it is in scope. */
function patch(name: string, make: (original: (...given: unknown[]) => unknown) => unknown): Disposable {
  const original = prototype[name]!
  prototype[name] = make(original) as (typeof prototype)[string]
  return { [Symbol.dispose]: () => void (prototype[name] = original) }
}

/** What sqlcommenter does to a query: a plain object with the same members and another text. */
const copying = (original: (...given: unknown[]) => unknown): unknown =>
  function (this: unknown, query: unknown, ...rest: unknown[]): unknown {
    const given = typeof query === 'string' ? { text: query } : (query as { text: string })
    return original.call(this, { ...given, text: `${given.text} /* a comment */` }, ...rest)
  }

await admin.query('CREATE TABLE copied (n int)')

test('a query() that copies what it is given changes nothing about transactions', async () => {
  using _patch = patch('query', copying)
  await using manager = open()
  await admin.query('DELETE FROM copied')
  await manager.transaction((connection) => connection.query('INSERT INTO copied VALUES (1)'))
  await assert.rejects(
    manager.transaction(async (connection) => {
      await connection.query('INSERT INTO copied VALUES (2)')
      throw new Error('no')
    }),
    /^Error: no$/,
  )
  await manager.use(async (connection) => {
    await connection.query('INSERT INTO copied VALUES (3)')
    await connection.rollback()
  })
  await manager.batch(['INSERT INTO copied VALUES (4)'])
  assert.deepEqual((await admin.query('SELECT n FROM copied ORDER BY n')).rows, [{ n: 1 }, { n: 4 }])
  assert.equal(manager.stats.connects, 1)
})

test('a query() that copies what it is given leaves cursors and streams alone', async () => {
  using _patch = patch('query', copying)
  await using manager = open()
  await manager.use(async (connection) => {
    const cursor = connection.query(new Cursor('SELECT generate_series(1, 5) AS n'))
    assert.equal((await cursor.read(10)).length, 5)
    await cursor.close()
    const rows = []
    for await (const row of connection.stream('SELECT generate_series(1, 5) AS n')) rows.push(row)
    assert.equal(rows.length, 5)
    await connection.rollback()
  })
  assert.equal(manager.stats.connects, 1)
})

test('set-up statements of the library do not go through a patched query()', async () => {
  const texts: unknown[] = []
  using _patch = patch(
    'query',
    (original) =>
      function (this: unknown, ...given: unknown[]): unknown {
        texts.push(given[0])
        return original.apply(this, given)
      },
  )
  const manager = new ManagedConnection(database.conninfo, { reset: 'session' })
  await using _end = { [Symbol.asyncDispose]: () => endSoon(manager) }
  await (await manager.acquire()).release()
  await (await manager.listen('patched'))[Symbol.asyncDispose]()
  assert.deepEqual(texts, [])
})

/** The queue's emptying is part of what is replaced, and something else takes the place of what lies in it. */
const swapping = (replace: (query: object) => object) => (original: (...given: unknown[]) => unknown) =>
  function (this: { _queryQueue: object[] }): unknown {
    this._queryQueue.splice(0, Infinity, ...this._queryQueue.map(replace))
    return original.call(this)
  }

const COPIES: Record<string, (query: object) => object> = {
  'a copy with the same members': (query) =>
    Object.assign(Object.create(Object.getPrototypeOf(query) as object) as object, query),
  'a query of pg with the same text': (query) => new pg.Query((query as { text: string }).text, () => {}),
}

for (const [what, replace] of Object.entries(COPIES)) {
  test(`a unit in whose place pg takes ${what} ends the connection, and the caller is told so`, async () => {
    await admin.query('DELETE FROM copied')
    await using manager = open()
    await manager
      .transaction(async (connection) => {
        await connection.query('SELECT 1')
        using _patch = patch('_pulseQueryQueue', swapping(replace))
        const error = await within(
          connection.query('INSERT INTO copied VALUES (5)').then(
            () => null,
            (error: unknown) => error,
          ),
          'the statement',
        )
        assert.ok(error instanceof ConnectionLostError)
        assert.equal(error.commitOutcome, 'none')
      })
      .then(
        () => assert.fail('committed'),
        (error: unknown) => assert.ok(error instanceof ConnectionLostError, String(error)),
      )
    assert.deepEqual((await admin.query('SELECT n FROM copied')).rows, [])
    assert.equal((await manager.query('SELECT 1 AS n')).rows[0].n, 1)
    assert.equal(manager.stats.connects, 2)
  })
}

test('a one-shot in whose place pg has run something else is not told that nothing was committed', async () => {
  await using manager = open()
  await manager.query('SELECT 1')
  using _patch = patch('_pulseQueryQueue', swapping(COPIES['a query of pg with the same text']!))
  await assert.rejects(manager.query('INSERT INTO copied VALUES (6)'), {
    name: 'ConnectionLostError',
    commitOutcome: 'unknown',
    retrySafe: false,
  })
})
