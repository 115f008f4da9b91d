/** pg's submittables (cursors, streams, COPY) handed to `connection.query()` on the shared, pipelined connection. */
import { ManagedConnection } from '../support/managed.js'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import pg from 'pg'
import QueryStream from 'pg-query-stream'
import {
  ConnectionReleasedError,
  UncommittedTransactionError,
  UnfinishedStatementError,
  type Connection,
} from 'pg-managed-connection'
import { copy, Cursor } from '../support/submittables.js'
import { openSuite } from '../support/suite.js'
import { within } from '../support/wait.js'
import { openManager } from '../support/manager.js'

const { test, database } = await openSuite()
const { admin } = database

const SERIES = 'SELECT n FROM generate_series(1, 100) AS n'

/** Runs `work` between one-shots and holders that are asked for at the same time, and sees that they are served. */
async function amid(
  manager: ManagedConnection,
  work: (connection: Connection) => Promise<void>,
  hold: 'use' | 'transaction' = 'transaction',
): Promise<void> {
  const asked = [
    manager.query('SELECT 1 AS n'),
    manager.transaction((connection) => connection.query('SELECT 1 AS n')),
    hold === 'use' ? manager.use(work) : manager.transaction(work),
    manager.transaction((connection) => connection.query('SELECT 1 AS n')),
    manager.query('SELECT 1 AS n'),
    manager.query('SELECT 1 AS n'),
  ]
  const outcomes = await within(Promise.allSettled(asked), 'everybody')
  outcomes.forEach((outcome, i) => {
    if (i !== 2) {
      assert.equal(outcome.status, 'fulfilled', String((outcome as { reason?: unknown }).reason))
      assert.deepEqual((outcome.value as { rows: unknown }).rows, [{ n: 1 }])
    }
  })
  assert.equal(manager.stats.connects, 1)
  assert.equal(manager.status, 'idle')
  const own = outcomes[2]!
  if (own.status === 'rejected') throw own.reason as Error
}

test('a cursor reads in portions, first and later in its transaction', async () => {
  await using manager = openManager(database.conninfo)
  for (const first of [true, false]) {
    await amid(manager, async (connection) => {
      if (!first) await connection.query('SELECT 0')
      const cursor = connection.query(new Cursor<{ n: number }>(SERIES))
      const sizes: number[] = []
      let sum = 0
      for (;;) {
        const rows = await cursor.read(30)
        if (rows.length === 0) break
        sizes.push(rows.length)
        for (const { n } of rows) sum += n
      }
      await cursor.close()
      assert.deepEqual(sizes, [30, 30, 30, 10])
      assert.equal(sum, 5050)
      assert.deepEqual((await connection.query('SELECT 2 AS n')).rows, [{ n: 2 }])
    })
  }
})

test('a cursor that is closed early lets the transaction go on', async () => {
  await using manager = openManager(database.conninfo)
  await amid(manager, async (connection) => {
    const cursor = connection.query(new Cursor<{ n: number }>(SERIES))
    assert.equal((await cursor.read(10)).length, 10)
    await cursor.close()
    assert.deepEqual((await connection.query('SELECT 2 AS n')).rows, [{ n: 2 }])
    assert.equal(connection.status, 'intrans')
  })
})

test('a statement asked for while a cursor is open is answered when it is closed', async () => {
  await using manager = openManager(database.conninfo)
  await amid(manager, async (connection) => {
    const cursor = connection.query(new Cursor<{ n: number }>(SERIES))
    await cursor.read(1)
    const later = connection.query('SELECT 2 AS n')
    await cursor.read(1)
    await cursor.close()
    assert.deepEqual((await later).rows, [{ n: 2 }])
  })
})

test('an error inside a cursor is the caller’s, and the transaction is seen to have failed', async () => {
  await using manager = openManager(database.conninfo)
  const failing = amid(manager, async (connection) => {
    const cursor = connection.query(new Cursor('SELECT 1 / (5 - n) FROM generate_series(1, 10) AS n'))
    await cursor.read(2)
    await assert.rejects(cursor.read(10), { code: '22012' })
    await assert.rejects(connection.query('SELECT 1'), { code: '25P02' })
  })
  await assert.rejects(failing, { code: 'ERR_COMMIT_ROLLED_BACK' })
})

test('an error in a cursor’s text is the caller’s', async () => {
  await using manager = openManager(database.conninfo)
  const failing = amid(manager, async (connection) => {
    await connection.query(new Cursor('SELECT * FROM nowhere')).read(1)
  })
  await assert.rejects(failing, { code: '42P01' })
})

test('a query stream is read to its end, and broken off in the middle', async () => {
  await using manager = openManager(database.conninfo)
  await amid(manager, async (connection) => {
    let sum = 0
    for await (const { n } of connection.query(
      new QueryStream(SERIES, [], { batchSize: 7 }),
    ) as AsyncIterable<{
      n: number
    }>)
      sum += n
    assert.equal(sum, 5050)
    let seen = 0
    for await (const row of connection.query(new QueryStream(SERIES, [], { batchSize: 7 }))) {
      assert.ok(row)
      if (++seen === 3) break
    }
    assert.equal(seen, 3)
    assert.deepEqual((await connection.query('SELECT 2 AS n')).rows, [{ n: 2 }])
  })
})

test('an error inside a query stream is thrown into the loop', async () => {
  await using manager = openManager(database.conninfo)
  const failing = amid(manager, async (connection) => {
    const stream = connection.query(
      new QueryStream('SELECT 1 / (50 - n) AS x FROM generate_series(1, 100) AS n'),
    )
    for await (const row of stream) {
      assert.ok(row) // until it fails
    }
  })
  await assert.rejects(failing, { code: '22012' })
})

test('a pg.Query and its events work, with and without a failure', async () => {
  await using manager = openManager(database.conninfo)
  await amid(manager, async (connection) => {
    const run = (sql: string): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const query = connection.query(new pg.Query<{ n: number }>(sql))
        const rows: unknown[] = []
        query.on('row', (row) => rows.push(row))
        query.on('end', () => resolve(rows))
        query.on('error', reject)
      })
    assert.deepEqual(await run('SELECT 3 AS n'), [{ n: 3 }])
    await connection.transaction(async (nested) => {
      await assert.rejects(run('SELECT 4'), { code: undefined }).catch(() => {})
      await nested.query('SELECT 5')
    })
  })
})

test('COPY takes rows in and gives them back, inside the transaction', { needs: ['copy in'] }, async () => {
  await admin.query('CREATE TABLE copied (id int)')
  await using manager = openManager(database.conninfo)
  await amid(manager, async (connection) => {
    await pipeline(Readable.from(['1\n2\n', '3\n']), connection.query(copy.from('COPY copied FROM STDIN')))
    const { rows } = await connection.query('SELECT count(*)::int AS n FROM copied')
    assert.deepEqual(rows, [{ n: 3 }])
    assert.equal(await text(connection.query(copy.to('COPY copied TO STDOUT'))), '1\n2\n3\n')
  })
  assert.equal((await admin.rows('SELECT * FROM copied')).length, 3)
})

/** How many rows go through COPY, in and out. */
const COPY_ROWS = Number(process.env['COPY_ROWS'] || 1_000_000)

test(
  `${COPY_ROWS} rows go in by COPY and come out again`,
  { needs: ['copy in'], timeout: 60_000 + COPY_ROWS / 20 },
  async (t) => {
    await admin.query('CREATE UNLOGGED TABLE many_copied (id int, filler text)')
    await using manager = openManager(database.conninfo)
    const began = performance.now()
    let heap = 0
    function* lines(): Generator<string> {
      for (let id = 1; id <= COPY_ROWS; id += 1_000) {
        const some = Array.from(
          { length: Math.min(1_000, COPY_ROWS - id + 1) },
          (_, i) => `${id + i}\tabcdefgh\n`,
        )
        heap = Math.max(heap, process.memoryUsage().heapUsed)
        yield some.join('')
      }
    }
    let bytes = 0
    await amid(manager, async (connection) => {
      const into = connection.query(copy.from('COPY many_copied FROM STDIN'))
      await pipeline(Readable.from(lines()), into)
      assert.equal(into.rowCount, COPY_ROWS)
      for await (const chunk of connection.query(copy.to('COPY many_copied TO STDOUT')))
        bytes += (chunk as Buffer).length
    })
    const { rows } = await manager.query('SELECT count(*)::int AS n, sum(id)::text AS sum FROM many_copied')
    assert.deepEqual(rows, [{ n: COPY_ROWS, sum: String((COPY_ROWS * (COPY_ROWS + 1)) / 2) }])
    assert.equal(bytes, 10 * COPY_ROWS + digits(COPY_ROWS))
    assert.ok(heap < 200 * 1024 * 1024, `${heap} bytes of heap`)
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    if (COPY_ROWS > 1_000_000) t.diagnostic(`${COPY_ROWS} rows in and out in ${seconds} s`)
    await admin.query('DROP TABLE many_copied')
  },
)

/** How many digits the numbers from 1 to `last` have in all. */
function digits(last: number): number {
  let sum = 0
  for (let first = 1; first <= last; first *= 10) sum += last - first + 1
  return sum
}

test('a COPY whose holder throws stores nothing', { needs: ['copy in'] }, async () => {
  await admin.query('CREATE TABLE not_copied (id int)')
  await using manager = openManager(database.conninfo)
  const failing = amid(manager, async (connection) => {
    await pipeline(Readable.from(['1\n']), connection.query(copy.from('COPY not_copied FROM STDIN')))
    throw new Error('mine')
  })
  await assert.rejects(failing, /mine/)
  assert.deepEqual(await admin.rows('SELECT * FROM not_copied'), [])
})

test(
  'COPY of what the table does not take fails, and so does one whose source fails',
  { needs: ['copy in'] },
  async () => {
    await admin.query('CREATE TABLE strict (id int)')
    await using manager = openManager(database.conninfo)
    await assert.rejects(
      amid(manager, async (connection) => {
        await pipeline(
          Readable.from(['not a number\n']),
          connection.query(copy.from('COPY strict FROM STDIN')),
        )
      }),
      { code: '22P02' },
    )
    await assert.rejects(
      amid(manager, async (connection) => {
        const source = new Readable({ read: () => {} })
        source.push('1\n')
        setTimeout(() => source.destroy(new Error('the source broke')), 20)
        await pipeline(source, connection.query(copy.from('COPY strict FROM STDIN')))
      }),
      /the source broke/,
    )
    assert.deepEqual(await admin.rows('SELECT * FROM strict'), [])
  },
)

test('COPY FROM STDIN as a plain text fails at once and harms nobody', async () => {
  await admin.query('CREATE TABLE plain_copy (id int)')
  await using manager = openManager(database.conninfo)
  await assert.rejects(
    amid(manager, async (connection) => void (await connection.query('COPY plain_copy FROM STDIN'))),
    Error,
  )
})

test('a cursor that a holder leaves open is an unfinished statement, and the next holder is served', async () => {
  await using manager = new ManagedConnection(database.conninfo, { releaseGraceMillis: 200 })
  const held = manager.use(async (connection) => {
    await connection.query(new Cursor(SERIES)).read(1)
  })
  const next = manager.query('SELECT 1 AS one')
  await assert.rejects(within(held, 'the holder'), UnfinishedStatementError)
  assert.deepEqual((await within(next, 'the next')).rows, [{ one: 1 }])
})

test('a cursor that a holder closed but did not commit is an open transaction', async () => {
  await using manager = openManager(database.conninfo)
  const held = manager.use(async (connection) => {
    const cursor = connection.query(new Cursor(SERIES))
    await cursor.read(1)
    await cursor.close()
  })
  await assert.rejects(within(held, 'the holder'), UncommittedTransactionError)
})

test('after release a submittable is told so, and never reaches the server', async () => {
  await using manager = openManager(database.conninfo)
  let handle!: Connection
  await manager.use((connection) => void (handle = connection))
  await assert.rejects(
    within(handle.query(new Cursor(SERIES)).read(1), 'the cursor'),
    ConnectionReleasedError,
  )
  const stream = handle.query(new QueryStream(SERIES))
  await assert.rejects(
    (async () => {
      for await (const row of stream) {
        assert.fail(`it gave ${String(row)}`)
      }
    })(),
    ConnectionReleasedError,
  )
  await assert.rejects(
    within(pipeline(Readable.from(['1\n']), handle.query(copy.from('COPY x FROM STDIN'))), 'the copy'),
    ConnectionReleasedError,
  )
})

test('a cursor kept beyond its holder reaches nobody else', async () => {
  await using manager = new ManagedConnection(database.conninfo, { releaseGraceMillis: 100 })
  let cursor!: InstanceType<typeof Cursor>
  await assert.rejects(
    manager.use(async (connection) => {
      cursor = connection.query(new Cursor(SERIES))
      await cursor.read(1)
    }),
    UnfinishedStatementError,
  )
  await manager.use(async (connection) => {
    await connection.query('SELECT 1')
    await within(Promise.allSettled([cursor.read(1)]), 'the late read')
    assert.deepEqual((await within(connection.query('SELECT 2 AS n'), 'the statement')).rows, [{ n: 2 }])
    await connection.rollback()
  })
})

test('a submittable handed to manager.query() is refused', async () => {
  await using manager = openManager(database.conninfo)
  // @ts-expect-error: the types say so, too
  await assert.rejects(manager.query(new Cursor(SERIES)), TypeError)
  assert.equal(manager.closed, true)
})

test(
  'the connection dies under a cursor: its reader is told, and the next holder is served',
  { needs: ['kill'] },
  async () => {
    await using manager = openManager(database.conninfo)
    const held = manager.use(async (connection) => {
      const cursor = connection.query(new Cursor(SERIES))
      await cursor.read(1)
      await admin.terminate(connection.processID ?? 0)
      await within(cursor.read(1), 'the read')
    })
    await assert.rejects(within(held, 'the holder'))
    await within(manager.query('SELECT 1'), 'the next')
  },
)

test(
  'the connection dies under a COPY: the stream is told, and the next holder is served',
  { needs: ['kill'] },
  async () => {
    await admin.query('CREATE TABLE cut_copy (id int)')
    await using manager = openManager(database.conninfo)
    const held = manager.use(async (connection) => {
      await connection.query('SELECT 1')
      const stream = connection.query(copy.from('COPY cut_copy FROM STDIN'))
      const told = new Promise((_resolve, reject) => stream.once('error', reject))
      stream.write('1\n')
      await Promise.all([within(told, 'the stream to be told'), admin.terminate(connection.processID ?? 0)])
    })
    await assert.rejects(within(held, 'the holder'))
    await within(manager.query('SELECT 1'), 'the next')
    assert.deepEqual(await admin.rows('SELECT * FROM cut_copy'), [])
  },
)

test('submittables with autocommit need no transaction', async () => {
  await using manager = openManager(database.conninfo)
  await manager.use(
    async (connection) => {
      const cursor = connection.query(new Cursor(SERIES))
      assert.equal((await cursor.read(1000)).length, 100)
      await cursor.close()
      assert.equal(connection.status, 'idle')
    },
    { autocommit: true },
  )
})

test('a submittable that ends the transaction, or drops what the library keeps, is noticed', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('CREATE TABLE ended_by_submittable (n int)')
  for (const text of ['COMMIT AND CHAIN', 'ROLLBACK AND CHAIN']) {
    const ended = manager.transaction(async (connection) => {
      await connection.query('INSERT INTO ended_by_submittable VALUES (1)')
      const query = new pg.Query(text)
      connection.query(query)
      await once(query, 'end')
    })
    await assert.rejects(ended, { code: 'ERR_TRANSACTION_ENDED' }, text)
  }
  await using subscription = await manager.listen('a')
  await manager.use(
    async (connection) => {
      const query = new pg.Query('UNLISTEN *')
      connection.query(query)
      await once(query, 'end')
    },
    { autocommit: true },
  )
  const { value } = await subscription[Symbol.asyncIterator]().next()
  assert.deepEqual(value, { type: 'gap', channel: 'a' })
})
