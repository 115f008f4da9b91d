/** `connection.stream()`: rows a batch at a time. */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import {
  ConnectionLostError,
  ConnectionReleasedError,
  UnfinishedStatementError,
  StatementTimeoutError,
  TransactionOrderError,
  type Connection,
} from 'pg-managed-connection'
import { caught, reason } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { openConnected, openProxied } from '../support/proxied.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database

const SERIES = 'SELECT n FROM generate_series(1, $1::int) AS n'

async function drain(rows: AsyncIterable<{ n: number }>): Promise<number[]> {
  const seen: number[] = []
  for await (const { n } of rows) seen.push(n)
  return seen
}

test('all rows come, in order, whatever the size of a batch', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    for (const batchSize of [1, 7, 100, 1000]) {
      const seen = await drain(connection.stream(SERIES, [700], { batchSize }))
      assert.equal(seen.length, 700)
      assert.equal(seen.at(-1), 700)
    }
    assert.deepEqual(await drain(connection.stream(SERIES, [0])), [])
  })
})

test('rows as arrays, as pg gives them', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    const rows: unknown[] = []
    for await (const row of connection.stream(SERIES, [2], { rowMode: 'array' })) rows.push(row)
    assert.deepEqual(rows, [[1], [2]])
    const types = { getTypeParser: (oid: number) => (text: string) => `${oid}:${text}` } as never
    for await (const row of connection.stream(SERIES, [1], { rowMode: 'array', types }))
      assert.deepEqual(row, ['23:1'])
  })
})

/** How many rows a long stream has: `STREAM_ROWS=10000000 make test TESTS=stream` is the long way round. */
const STREAM_ROWS = Number(process.env['STREAM_ROWS'] || 500_000)

/** What the process may need beyond what it began with, whatever the number of rows. */
const FLAT_BYTES = 150 * 1024 * 1024

test(
  `memory stays flat over ${STREAM_ROWS} rows`,
  { needs: ['parallel'], timeout: 60_000 + STREAM_ROWS / 20 },
  async (t) => {
    await using manager = new ManagedConnection(database.conninfo)
    const began = performance.now()
    const before = process.memoryUsage()
    await manager.transaction(async (connection) => {
      let count = 0
      let heap = 0
      let resident = 0
      const wide = "SELECT n, repeat('x', 100) AS filler FROM generate_series(1, $1::int) AS n"
      for await (const row of connection.stream<{ n: number }>(wide, [STREAM_ROWS], { batchSize: 1000 })) {
        if (row.n !== ++count) assert.fail(`row ${row.n} in the place of ${count}`)
        if (count % 10_000 > 0) continue
        const { heapUsed, rss } = process.memoryUsage()
        heap = Math.max(heap, heapUsed - before.heapUsed)
        resident = Math.max(resident, rss - before.rss)
      }
      assert.equal(count, STREAM_ROWS)
      assert.ok(heap < FLAT_BYTES, `${heap} bytes of heap`)
      const seconds = ((performance.now() - began) / 1000).toFixed(1)
      const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0)
      if (count > 1_000_000)
        t.diagnostic(
          `${count} rows in ${seconds} s, heap +${mebibytes(heap)} MiB, resident +${mebibytes(resident)} MiB`,
        )
    })
  },
)

const EXITS: readonly { how: string; leave: (connection: Connection) => Promise<void> }[] = [
  {
    how: 'break',
    leave: async (connection) => {
      for await (const _row of connection.stream(SERIES, [100_000])) break
    },
  },
  {
    how: 'an error of the reader',
    leave: async (connection) => {
      const reading = (async () => {
        for await (const _row of connection.stream(SERIES, [100_000])) throw new RangeError('enough')
      })()
      await caught(reading, RangeError)
    },
  },
  {
    how: 'an abort',
    leave: async (connection) => {
      const abort = new AbortController()
      const reason = new RangeError('aborted')
      const reading = (async () => {
        for await (const _row of connection.stream(SERIES, [100_000], { signal: abort.signal }))
          abort.abort(reason)
      })()
      assert.equal(await caught(reading, RangeError), reason)
    },
  },
]
for (const { how, leave } of EXITS) {
  test(`${how} in the middle leaves the connection clean`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    await manager.transaction(async (connection) => {
      await leave(connection)
      assert.equal(connection.status, 'intrans')
      assert.deepEqual((await connection.query('SELECT 2 AS n')).rows, [{ n: 2 }])
    })
    assert.deepEqual((await manager.query('SELECT 3 AS n')).rows, [{ n: 3 }])
  })
}

test('an error of the server in the middle is thrown, and fails the transaction only', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const failing = 'SELECT 100 / (250 - n) AS n FROM generate_series(1, 1000) AS n'
  await manager.use(async (connection) => {
    await assert.rejects(drain(connection.stream(failing)), { code: '22012' })
    assert.equal(connection.status, 'inerror')
    await connection.rollback()
  })
  await manager.transaction(async (connection) => {
    await assert.rejects(
      connection.transaction((nested) => drain(nested.stream(failing))),
      { code: '22012' },
    )
    assert.equal((await drain(connection.stream(SERIES, [3]))).length, 3)
  })
})

test(
  'the death of the connection in the middle is ConnectionLostError, and nothing was committed',
  { needs: ['kill'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const holder = manager.use(async (connection) => {
      let read = 0
      for await (const _row of connection.stream(SERIES, [1_000_000])) {
        if (++read === 5) await admin.terminate(manager.stats.processID!)
      }
    })
    const { commitOutcome } = await caught(holder, ConnectionLostError)
    assert.equal(commitOutcome, 'none')
    assert.deepEqual((await manager.query('SELECT 1 AS n')).rows, [{ n: 1 }])
  },
)

test('leaving the loop after the connection has died does not hang', { needs: ['kill'] }, async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const holder = manager.use(async (connection) => {
    for await (const _row of connection.stream(SERIES, [1_000_000])) {
      await admin.terminate(manager.stats.processID!)
      await until(() => manager.closed, { what: 'the loss to be noticed' })
      break
    }
  })
  await caught(holder, ConnectionLostError)
})

test('a stream of a released handle reads nothing', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const connection = await manager.acquire()
  await connection.release()
  await caught(drain(connection.stream(SERIES, [1])), ConnectionReleasedError)
})

test('a batch size that is none is refused', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    for (const batchSize of [0, 1.5, -1])
      await caught(drain(connection.stream(SERIES, [1], { batchSize })), RangeError)
  })
})

const SLOW = 'SELECT n, pg_sleep(CASE WHEN n > 200 THEN 5 ELSE 0 END) FROM generate_series(1, 300) AS n'

/** Shorter than the fetch, which takes minutes, and longer than whatever else is sent, however busy the machine. */
const LIMIT_MILLIS = 500

test(
  'a fetch that takes too long is cancelled, and the transaction goes on after a rollback',
  { needs: ['cancel'] },
  async () => {
    for (const [options, own] of [
      [{ statementTimeoutMillis: LIMIT_MILLIS }, {}],
      [{}, { timeoutMillis: LIMIT_MILLIS }],
    ] as const) {
      await using manager = new ManagedConnection(database.conninfo, options)
      await manager.use(async (connection) => {
        // A caller waits for the server's word for a moment only, and a busy machine may take longer.
        const heard = async (): Promise<boolean> => {
          const { timeoutMillis, cause } = await caught(
            drain(connection.stream(SLOW, [], own)),
            StatementTimeoutError,
          )
          assert.equal(timeoutMillis, LIMIT_MILLIS)
          if (cause !== undefined) {
            assert.equal((cause as { code?: string }).code, '57014')
            assert.equal(connection.status, 'inerror')
          }
          await connection.rollback()
          return cause !== undefined
        }
        await until(heard, { what: 'the server’s word', timeoutMillis: 20_000 })
        assert.equal((await drain(connection.stream(SERIES, [250], own))).length, 250)
        await connection.commit()
      })
      assert.equal(manager.stats.connects, 1)
    }
  },
)

test('the time that a reader takes is not counted', async () => {
  await using manager = new ManagedConnection(database.conninfo, { statementTimeoutMillis: 100 })
  await manager.transaction(async (connection) => {
    let read = 0
    for await (const _row of connection.stream(SERIES, [250])) if (++read % 100 === 0) await pause(150)
    assert.equal(read, 250)
  })
})

test('a signal ends a fetch that runs', { needs: ['cancel'] }, async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const abort = new AbortController()
  const reason = new Error('enough')
  await manager.use(async (connection) => {
    const drained = drain(connection.stream(SLOW, [], { signal: abort.signal }))
    await until(async () => (await admin.activity()).some(({ state }) => state === 'active'), {
      what: 'the fetch to run',
    })
    setTimeout(() => abort.abort(reason), 50)
    assert.equal(await drained.catch((error: unknown) => error), reason)
    await connection.rollback()
    assert.deepEqual(await drain(connection.stream(SERIES, [2])), [1, 2])
    await connection.commit()
  })
  assert.equal(manager.stats.connects, 1)
})

test('a peer that goes deaf in the middle of a stream holds nobody up', { needs: ['wire'] }, async () => {
  await using wire = await openProxied(database, { statementTimeoutMillis: 200, releaseGraceMillis: 200 })
  const { manager, proxy } = wire
  const reading = manager.use(async (connection) => {
    let read = 0
    for await (const _row of connection.stream(SERIES, [1_000])) if (++read === 100) proxy.pause('toClient')
  })
  await within(caught(reading, StatementTimeoutError), 'the stream to be given up', 3_000)
  proxy.resume()
  assert.deepEqual((await manager.query('SELECT 1 AS n')).rows, [{ n: 1 }])
})

test('a statement inside the loop is refused, however many rows there are', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (const rows of [300, 3, 2]) {
    await manager.use(async (connection) => {
      for await (const _row of connection.stream(SERIES, [rows], { batchSize: 3 })) {
        await caught(connection.query('SELECT 1'), TransactionOrderError)
        await caught(drain(connection.stream(SERIES, [1])), TransactionOrderError)
        await caught(
          connection.transaction(async () => {}),
          TransactionOrderError,
        )
        break
      }
      assert.deepEqual((await connection.query('SELECT 1 AS n')).rows, [{ n: 1 }])
      await connection.commit()
    })
  }
})

test('an abort between two fetches makes no more of them', { needs: ['cancel'] }, async () => {
  const slow = 'SELECT n, pg_sleep(CASE WHEN n > 100 THEN 30 ELSE 0 END) FROM generate_series(1, 300) AS n'
  await using manager = new ManagedConnection(database.conninfo)
  const abort = new AbortController()
  const why = new RangeError('enough')
  const holder = manager.transaction(async (connection) => {
    let read = 0
    for await (const _row of connection.stream(slow, [], { signal: abort.signal }))
      if (++read === 100) abort.abort(why)
  })
  assert.equal(await within(caught(holder, RangeError), 'the abort', 5_000), why)
})

test(
  'rows whose signal aborts just behind the call reject with its reason',
  { needs: ['cancel'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    await manager.use(async (connection) => {
      const abort = new AbortController()
      const why = new RangeError('enough')
      const rows = connection.stream('SELECT pg_sleep(20)', [], { signal: abort.signal })
      const asked = caught(rows.next(), RangeError)
      abort.abort(why)
      assert.equal(await within(asked, 'the abort'), why)
      await connection.rollback()
    })
  },
)

test('a nested transaction that ends while rows are fetched is undone, and told so', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await admin.query('CREATE TABLE fetched (id int)')
  let asked: Promise<unknown> | undefined
  await manager.use(
    async (connection) => {
      const nested = connection.transaction(async (nested) => {
        asked = nested.stream('INSERT INTO fetched VALUES (1) RETURNING id').next()
        void asked.catch(() => {})
        await Promise.resolve()
      })
      await caught(nested, UnfinishedStatementError)
    },
    { autocommit: true },
  )
  await asked?.catch(() => {})
  assert.deepEqual(await admin.rows('SELECT id FROM fetched'), [])
})

test(
  'a connection that dies behind the last row ends the stream with an error, and the turn',
  { needs: ['wire'] },
  async () => {
    for (const bytes of [64, 66, 68]) {
      await using wire = await openConnected(database, {})
      const { manager, proxy } = wire
      const reading = manager.transaction(async (connection) => {
        await connection.query('SELECT 1')
        proxy.cutAfter({ direction: 'toClient', bytes, how: 'reset' })
        for await (const row of connection.stream('SELECT 1 AS id')) void row
      })
      const error = await reason(within(reading, 'the end of the stream'))
      assert.ok(error instanceof ConnectionLostError, String(error))
      assert.deepEqual((await within(manager.query('SELECT 1 AS one'), 'the next')).rows, [{ one: 1 }])
    }
  },
)
