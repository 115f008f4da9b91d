/** What is sent again when the connection dies, what never is, and what the callers hear. */
import assert from 'node:assert/strict'
import { ConnectionLostError, type Connection, type ManagedConnection } from 'pg-managed-connection'
import { openConnected, type Proxied } from '../support/proxied.js'
import { copy, Cursor } from '../support/submittables.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database

/** A table of its own for each test: what was stored, and how often. */
async function ledger(name: string): Promise<() => Promise<number[]>> {
  await admin.query(`CREATE TABLE ${name} (id int)`)
  return async () => {
    const rows = await admin.rows<{ id: number }>(`SELECT id FROM ${name} ORDER BY id`)
    return rows.map(({ id }) => id)
  }
}

/** Kills the idle backend; the client learns of it only when the proxy is resumed. */
async function killUnseen({ manager, proxy }: Proxied): Promise<void> {
  const pid = manager.stats.processID
  assert.ok(pid !== null)
  proxy.pause('toClient')
  await admin.terminate(pid)
}

/** Waits for a message to be sent, then lets the client see that the connection is gone. */
async function resumeAfter({ proxy, recording }: Proxied, message: string): Promise<void> {
  await until(() => recording.sent().includes(message), { what: `${message} to be sent` })
  proxy.resume()
}

/** Cuts each connection as soon as such a message is sent over it, at most `times` times; the server never sees it. */
function cutAtSending({ proxy }: Proxied, needle: string, times = 1): void {
  let left = times
  proxy.onChunk = (direction, chunk, link) => {
    if (direction !== 'toServer' || left === 0 || !chunk.includes(needle)) return chunk
    left--
    link.cut('reset')
    return null
  }
}

/** Lets the server do what such a message asks for, and cuts before its answer reaches the client. */
function cutAtAnswering({ proxy }: Proxied, needle: string): void {
  let armed = false
  let left = 1
  proxy.onChunk = (direction, chunk, link) => {
    if (direction === 'toServer' && chunk.includes(needle)) armed = true
    if (direction === 'toServer' || !armed || left === 0) return chunk
    left--
    link.cut('reset')
    return null
  }
}

function timesSent({ recording }: Proxied, message: string): number {
  return recording.sent().filter((sent) => sent === message).length
}

function isLost(outcome: 'none' | 'unknown', retrySafe = outcome === 'none') {
  return (error: unknown): true => {
    assert.ok(error instanceof ConnectionLostError, String(error))
    assert.equal(error.commitOutcome, outcome)
    assert.equal(error.retrySafe, retrySafe)
    assert.ok(error.cause instanceof Error)
    return true
  }
}

/** The ways to hold the connection with an implicit transaction. */
const HOLDS: Record<
  string,
  (manager: ManagedConnection, work: (c: Connection) => Promise<void>) => Promise<void>
> = {
  use: (manager, work) =>
    manager.use(async (connection) => {
      await work(connection)
      await connection.commit()
    }),
  transaction: (manager, work) => manager.transaction(work),
  acquire: async (manager, work) => {
    await using connection = await manager.acquire()
    await work(connection)
    await connection.commit()
  },
}

for (const [name, hold] of Object.entries(HOLDS)) {
  test(`killed in the moment before use: the holder of ${name}() does not notice`, async () => {
    const stored = await ledger(`before_${name}`)
    await using wire = await openConnected(database)
    await killUnseen(wire)
    const text = `INSERT INTO before_${name} VALUES (1)`
    const held = hold(wire.manager, async (connection) => {
      const { rowCount } = await connection.query(text)
      assert.equal(rowCount, 1)
    })
    await resumeAfter(wire, `Parse ${text}`)
    await within(held, 'the holder')
    assert.deepEqual(await stored(), [1])
    assert.equal(timesSent(wire, `Parse ${text}`), 2)
    assert.equal(wire.manager.stats.connects, 2)
  })
}

test('killed before use with several statements asked for: all run once, in order', async () => {
  const stored = await ledger('before_many')
  await using wire = await openConnected(database)
  await killUnseen(wire)
  const held = wire.manager.transaction(async (connection) => {
    const results = await Promise.all(
      [1, 2, 3].map((n) =>
        connection.query<{ n: number }>('INSERT INTO before_many VALUES ($1) RETURNING id AS n', [n]),
      ),
    )
    assert.deepEqual(
      results.map(({ rows }) => rows[0]!.n),
      [1, 2, 3],
    )
  })
  await resumeAfter(wire, 'Parse BEGIN')
  await within(held, 'the holder')
  assert.deepEqual(await stored(), [1, 2, 3])
})

test('killed before use with a prepared statement: it is parsed on the new connection', async () => {
  await using wire = await openConnected(database)
  const text = 'SELECT $1::int AS n'
  for (let i = 0; i < 3; i++) await wire.manager.query(text, [i])
  await killUnseen(wire)
  wire.recording.clear()
  const held = wire.manager.transaction((connection) => connection.query<{ n: number }>(text, [7]))
  await resumeAfter(wire, 'Parse BEGIN')
  assert.deepEqual((await within(held, 'the holder')).rows, [{ n: 7 }])
})

test('killed before use with a statement that the user names: it is parsed on the new connection', async () => {
  await using wire = await openConnected(database)
  const query = { name: 'seven', text: 'SELECT 7 AS n' }
  for (let i = 0; i < 2; i++) await wire.manager.query(query)
  await killUnseen(wire)
  const held = wire.manager.transaction((connection) => connection.query(query))
  await resumeAfter(wire, 'Parse BEGIN')
  assert.deepEqual((await within(held, 'the holder')).rows, [{ n: 7 }])
})

test('onConnect has run on the new connection before anything is sent again', async () => {
  await using wire = await openConnected(database, {
    onConnect: async (client) => void (await client.query(`SET app.tenant = 'seven'`)),
  })
  await killUnseen(wire)
  wire.recording.clear()
  const held = wire.manager.transaction((connection) =>
    connection.query<{ tenant: string }>(`SELECT current_setting('app.tenant') AS tenant`),
  )
  await resumeAfter(wire, 'Parse BEGIN')
  assert.deepEqual((await within(held, 'the holder')).rows, [{ tenant: 'seven' }])
})

test('what is sent again may fail: the server’s error is the holder’s, and the next one is served', async () => {
  await using wire = await openConnected(database)
  await killUnseen(wire)
  const held = assert.rejects(
    wire.manager.transaction((connection) => connection.query('SELECT 1/0')),
    { code: '22012' },
  )
  const next = wire.manager.query('SELECT 1 AS one')
  await resumeAfter(wire, 'Parse SELECT 1/0')
  await within(held, 'the holder')
  assert.deepEqual((await next).rows, [{ one: 1 }])
})

test('those who wait behind a holder that is sent again keep their place', async () => {
  await using wire = await openConnected(database)
  await killUnseen(wire)
  const order: string[] = []
  const held = wire.manager.transaction(async (connection) => {
    await connection.query('SELECT 1')
    order.push('first')
  })
  const others = ['second', 'third'].map((name) =>
    wire.manager.transaction(async (connection) => {
      await connection.query('SELECT 2')
      order.push(name)
    }),
  )
  const last = wire.manager.query('SELECT 3').then(() => order.push('last'))
  await resumeAfter(wire, 'Parse SELECT 1')
  await within(Promise.all([held, ...others, last]), 'everybody')
  assert.deepEqual(order, ['first', 'second', 'third', 'last'])
})

for (const answered of [false, true]) {
  test(`killed behind a COMMIT that ${answered ? 'was done' : 'never arrived'}: its owner hears "unknown", the next holder nothing`, async () => {
    const table = answered ? 'behind_done' : 'behind_lost'
    const stored = await ledger(table)
    await using wire = await openConnected(database)
    const { manager, proxy, recording } = wire
    const first = manager.transaction(async (connection) => {
      await connection.query(`INSERT INTO ${table} VALUES (1)`)
      proxy.pause(answered ? 'toClient' : 'toServer')
    })
    const lost = assert.rejects(first, isLost('unknown', false))
    const second = manager.transaction(async (connection) => {
      const { rowCount } = await connection.query(`INSERT INTO ${table} VALUES (2)`)
      assert.equal(rowCount, 1)
    })
    const message = `Parse INSERT INTO ${table} VALUES (2)`
    await until(() => recording.sent().includes(message), { what: 'the second to be sent' })
    if (answered) await until(async () => (await stored()).includes(1), { what: 'COMMIT to be done' })
    proxy.cut('reset')
    proxy.resume()
    await within(Promise.all([lost, second]), 'both')
    assert.deepEqual(await stored(), answered ? [1, 2] : [2])
    assert.equal(timesSent(wire, message), 2)
  })
}

test('what is sent again is sent again once only', async () => {
  const stored = await ledger('once_only')
  await using wire = await openConnected(database)
  cutAtSending(wire, 'INSERT INTO once_only', 5)
  await assert.rejects(
    within(
      wire.manager.transaction((connection) => connection.query('INSERT INTO once_only VALUES (1)')),
      'the holder',
    ),
    isLost('none'),
  )
  assert.equal(timesSent(wire, 'Parse INSERT INTO once_only VALUES (1)'), 2)
  wire.proxy.onChunk = null
  assert.deepEqual(await stored(), [])
  assert.deepEqual((await wire.manager.query('SELECT 1 AS one')).rows, [{ one: 1 }])
})

for (const { what, ask } of [
  { what: 'a one-shot', ask: (manager: ManagedConnection, text: string) => manager.query(text) },
  { what: 'a batch', ask: (manager: ManagedConnection, text: string) => manager.batch([text]) },
  {
    what: 'a batch with an isolation level',
    ask: (manager: ManagedConnection, text: string) =>
      manager.batch([text], { isolationLevel: 'serializable' }),
  },
  {
    what: 'a statement of an autocommit holder',
    ask: (manager: ManagedConnection, text: string) =>
      manager.use((connection) => connection.query(text), { autocommit: true }),
  },
]) {
  test(`${what} is never sent again, and its outcome is unknown`, async () => {
    const table = `never_${what.replace(/\W/g, '_')}`
    const stored = await ledger(table)
    await using wire = await openConnected(database)
    cutAtAnswering(wire, `INSERT INTO ${table}`)
    const text = `INSERT INTO ${table} VALUES (1)`
    await assert.rejects(within(Promise.resolve(ask(wire.manager, text)), what), isLost('unknown', false))
    wire.proxy.onChunk = null
    await wire.manager.query('SELECT 1')
    await until(async () => (await stored()).length === 1, { what: 'what was sent to be stored' })
    assert.equal(timesSent(wire, `Parse ${text}`), 1)
  })
}

test('a one-shot that was still waiting in line when the connection died is sent on the next', async () => {
  const stored = await ledger('waiting_shot')
  await using wire = await openConnected(database)
  const holder = wire.manager.use(async (connection) => {
    await connection.query('SELECT 1')
    const pid = connection.processID
    await admin.terminate(pid ?? 0)
    await assert.rejects(connection.query('SELECT 2'), isLost('none'))
  })
  const shot = wire.manager.query('INSERT INTO waiting_shot VALUES (1)')
  await assert.rejects(holder, isLost('none'))
  await within(shot, 'the one-shot')
  assert.deepEqual(await stored(), [1])
})

test('once BEGIN is answered nothing is sent again, and nothing can have been committed', async () => {
  await using wire = await openConnected(database)
  const { manager, recording, proxy } = wire
  const text = 'SELECT pg_sleep(5)'
  const lost = assert.rejects(
    manager.transaction((connection) => connection.query(text)),
    isLost('none'),
  )
  await until(() => recording.received().includes('CommandComplete BEGIN'), { what: 'BEGIN' })
  // The proxy has it; a moment later the client has it, too.
  await new Promise((resolve) => setTimeout(resolve, 100))
  const [pid] = await admin.backends()
  proxy.cut('reset')
  await within(lost, 'the holder')
  assert.equal(timesSent(wire, `Parse ${text}`), 1)
  await admin.terminate(pid ?? 0) // it would sleep on
})

test('a later transaction of the same turn is not sent again', async () => {
  const stored = await ledger('later_one')
  await using wire = await openConnected(database)
  const text = 'INSERT INTO later_one VALUES (2)'
  const work = wire.manager.use(async (connection) => {
    await connection.query('INSERT INTO later_one VALUES (1)')
    await connection.commit()
    cutAtSending(wire, text)
    await connection.query(text)
    await connection.commit()
  })
  await assert.rejects(within(work, 'the holder'), isLost('none', false))
  assert.equal(timesSent(wire, `Parse ${text}`), 1)
  wire.proxy.onChunk = null
  assert.deepEqual(await stored(), [1])
})

for (const { what, table, text } of [
  { what: 'a COMMIT', table: 'own_control', text: 'BEGIN; INSERT INTO own_control VALUES (1); COMMIT' },
  { what: 'COPY', table: 'own_copy', text: `COPY own_copy FROM PROGRAM 'echo 1'` },
  { what: 'several statements', table: 'own_several', text: 'INSERT INTO own_several VALUES (1); SELECT 1' },
]) {
  test(`an opening that holds ${what} reaches the server no more than once`, async () => {
    const stored = await ledger(table)
    await using wire = await openConnected(database)
    cutAtAnswering(wire, text)
    const work = wire.manager.use(async (connection) => {
      await connection.query(text)
      await connection.commit()
    })
    await assert.rejects(within(work, 'the holder'), ConnectionLostError)
    assert.equal(timesSent(wire, `Query ${text}`), 1)
    wire.proxy.onChunk = null
    await wire.manager.query('SELECT 1')
    assert.ok((await stored()).length <= 1)
  })
}

test('user text that commits and is not answered has an unknown outcome', async () => {
  await ledger('text_commit')
  await using wire = await openConnected(database)
  const text = 'BEGIN; INSERT INTO text_commit VALUES (1); COMMIT'
  cutAtAnswering(wire, text)
  await assert.rejects(
    wire.manager.use((connection) => connection.query(text)),
    isLost('unknown', false),
  )
})

test('a user’s own BEGIN that is not answered is not sent again', async () => {
  await using wire = await openConnected(database)
  cutAtSending(wire, 'BEGIN ISOLATION LEVEL SERIALIZABLE')
  await assert.rejects(
    wire.manager.use(async (connection) => {
      await connection.query('BEGIN ISOLATION LEVEL SERIALIZABLE')
      await connection.rollback()
    }),
    isLost('none'),
  )
  assert.equal(timesSent(wire, 'Query BEGIN ISOLATION LEVEL SERIALIZABLE'), 1)
})

test('a cursor that was sent is never sent again', async () => {
  await using wire = await openConnected(database)
  cutAtSending(wire, 'generate_series')
  const work = wire.manager.use(async (connection) => {
    const cursor = connection.query(new Cursor('SELECT * FROM generate_series(1, 10)'))
    await cursor.read(5)
  })
  await assert.rejects(within(work, 'the holder'), ConnectionLostError)
  assert.equal(timesSent(wire, 'Parse SELECT * FROM generate_series(1, 10)'), 1)
})

test('a COPY that was sent is never sent again', async () => {
  const stored = await ledger('copied')
  await using wire = await openConnected(database)
  cutAtSending(wire, 'COPY copied')
  const work = wire.manager.use(async (connection) => {
    const stream = connection.query(copy.from('COPY copied FROM STDIN'))
    await new Promise((resolve, reject) => {
      stream.on('error', reject)
      stream.on('finish', resolve)
      stream.end('1\n')
    })
    await connection.commit()
  })
  await assert.rejects(within(work, 'the holder'), ConnectionLostError)
  assert.equal(timesSent(wire, 'Query COPY copied FROM STDIN'), 1)
  wire.proxy.onChunk = null
  assert.deepEqual(await stored(), [])
})

test('a commit() asked for along with the opening stores it once if it says so', async () => {
  const stored = await ledger('eager')
  await using wire = await openConnected(database)
  await killUnseen(wire)
  const work = wire.manager.use(async (connection) => {
    await Promise.all([connection.query('INSERT INTO eager VALUES (1)'), connection.commit()])
  })
  await resumeAfter(wire, 'Parse INSERT INTO eager VALUES (1)')
  const outcome = await within(Promise.allSettled([work]), 'the holder')
  assert.deepEqual(await stored(), outcome[0].status === 'fulfilled' ? [1] : [])
})

test('a COMMIT that was sent and not answered: unknown for use(), whether it was done or not', async () => {
  for (const done of [false, true]) {
    const table = done ? 'commit_done' : 'commit_lost'
    const stored = await ledger(table)
    await using wire = await openConnected(database)
    const work = wire.manager.use(async (connection) => {
      await connection.query(`INSERT INTO ${table} VALUES (1)`)
      if (done) cutAtAnswering(wire, 'COMMIT')
      else cutAtSending(wire, 'COMMIT')
      await assert.rejects(connection.commit(), isLost('unknown', false))
    })
    await assert.rejects(within(work, 'the holder'), isLost('unknown', false))
    wire.proxy.onChunk = null
    if (done) await until(async () => (await stored()).length === 1, { what: 'it to be stored' })
    else assert.deepEqual(await stored(), [])
    assert.equal(timesSent(wire, 'Query COMMIT'), 1)
  }
})

test('a ROLLBACK that is not answered committed nothing', async () => {
  await using wire = await openConnected(database)
  const work = wire.manager.use(async (connection) => {
    await connection.query('SELECT 1')
    cutAtSending(wire, 'ROLLBACK')
    await connection.rollback()
  })
  await assert.rejects(within(work, 'the holder'), isLost('none'))
})

test('the cause is what the server said last', async () => {
  await using wire = await openConnected(database)
  const work = wire.manager.use(async (connection) => {
    await connection.query('SELECT 1')
    const slow = connection.query('SELECT pg_sleep(5)')
    const runs = async (): Promise<boolean> =>
      (await admin.activity()).some(({ query }) => query.includes('pg_sleep(5)'))
    await until(runs, { what: 'the statement to run' })
    await Promise.all([slow, admin.terminate(connection.processID ?? 0)])
  })
  await assert.rejects(within(work, 'the holder'), (error) => {
    isLost('none')(error)
    assert.equal(((error as Error).cause as { code?: string }).code, '57P01')
    return true
  })
})

test('the cause is what the socket said last', async () => {
  await using wire = await openConnected(database)
  const work = wire.manager.use(async (connection) => {
    await connection.query('SELECT 1')
    const slow = connection.query('SELECT pg_sleep(5)')
    await until(() => wire.recording.sent().includes('Parse SELECT pg_sleep(5)'), { what: 'it to be sent' })
    wire.proxy.cut('reset')
    await slow
  })
  const [pid] = await admin.backends()
  await assert.rejects(within(work, 'the holder'), (error) => {
    isLost('none')(error)
    assert.equal(((error as Error).cause as { code?: string }).code, 'ECONNRESET')
    return true
  })
  await admin.terminate(pid ?? 0) // it would sleep on
})

for (const autocommit of [false, true]) {
  test(`a confirmed ${autocommit ? 'autocommit statement' : 'commit'}, then the connection dies: the caller gets its result`, async () => {
    const table = autocommit ? 'confirmed_auto' : 'confirmed'
    const stored = await ledger(table)
    await using wire = await openConnected(database)
    const result = await wire.manager.use(
      async (connection) => {
        await connection.query(`INSERT INTO ${table} VALUES (1)`)
        await connection.commit()
        await admin.terminate(connection.processID ?? 0)
        await until(() => wire.manager.closed, { what: 'the manager to notice' })
        return 'saved'
      },
      { autocommit },
    )
    assert.equal(result, 'saved')
    assert.deepEqual((await wire.manager.query('SELECT 1 AS one')).rows, [{ one: 1 }])
    assert.deepEqual(await stored(), [1])
  })
}

test('lost with a transaction open: ConnectionLostError where it returned, its own error where it threw', async () => {
  await using wire = await openConnected(database)
  const lose = async (connection: Connection): Promise<void> => {
    await connection.query('SELECT 1')
    await admin.terminate(connection.processID ?? 0)
    await until(() => wire.manager.closed, { what: 'the manager to notice' })
  }
  await assert.rejects(wire.manager.use(lose), isLost('none'))
  await assert.rejects(wire.manager.transaction(lose), isLost('none'))
  const own = new Error('mine')
  const work = wire.manager.use(async (connection) => {
    await lose(connection)
    throw own
  })
  await assert.rejects(work, (error) => error === own)
  assert.equal(wire.manager.stats.held, false)
})

test('killed after acquire() and before its first statement: a new connection stands in', async () => {
  await using wire = await openConnected(database)
  await using connection = await wire.manager.acquire()
  const before = connection.processID
  await admin.terminate(before ?? 0)
  await until(() => wire.proxy.connections.every(({ id }) => id > 1), { what: 'the old connection to go' })
  const { rows } = await within(connection.query('SELECT pg_backend_pid() AS pid'), 'the statement')
  assert.notDeepEqual(rows, [{ pid: before }])
  await connection.commit()
})

test('an idle FATAL whose socket stays open is noticed at once', async () => {
  await using wire = await openConnected(database)
  const { manager, proxy } = wire
  proxy.onChunk = (direction, chunk) => {
    if (direction === 'toClient' && chunk.includes('FATAL')) proxy.pause('toClient') // keeps the end back
    return chunk
  }
  await admin.terminate(manager.stats.processID ?? 0)
  await until(() => manager.closed, { what: 'the manager to notice' })
  proxy.onChunk = null
  proxy.resume()
  assert.deepEqual((await within(manager.query('SELECT 1 AS one'), 'the next')).rows, [{ one: 1 }])
})

test('a FATAL in the middle of a statement whose socket stays open ends the statement at once', async () => {
  await using wire = await openConnected(database)
  const { manager, proxy } = wire
  const work = manager.use(async (connection) => {
    await connection.query('SELECT 1')
    const slow = connection.query('SELECT pg_sleep(20)')
    proxy.onChunk = (direction, chunk) => {
      if (direction === 'toClient' && chunk.includes('FATAL')) proxy.pause('toClient')
      return chunk
    }
    await Promise.all([slow, admin.terminate(connection.processID ?? 0)])
  })
  await assert.rejects(within(work, 'the holder'), isLost('none'))
  proxy.onChunk = null
  proxy.resume()
  await within(manager.query('SELECT 1'), 'the next')
})

test('where no new connection can be had the opening’s caller is told, and so is everybody behind', async () => {
  await using wire = await openConnected(database, { reconnectTimeoutMillis: 300 })
  await killUnseen(wire)
  wire.proxy.refuse()
  const held = assert.rejects(
    wire.manager.transaction((connection) => connection.query('SELECT 1')),
    (error) => (error as { retrySafe?: boolean }).retrySafe === true,
  )
  const next = assert.rejects(wire.manager.query('SELECT 2'), { code: 'ERR_CONNECT' })
  await resumeAfter(wire, 'Parse SELECT 1')
  await within(Promise.all([held, next]), 'both')
  await wire.proxy.accept()
  await wire.manager.query('SELECT 3')
})
