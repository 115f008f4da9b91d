/** `groupCommit`: many commits wait for one flush, and each resolves only when it is durable. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectionLostError, UnsupportedServerError } from 'pg-managed-connection'
import { caught, createGate, outcome } from '../support/caught.js'
import { toConninfo } from '../support/address.js'
import { ManagedConnection } from '../support/managed.js'
import { openConnected, openProxied } from '../support/proxied.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database
await admin.query('CREATE TABLE payment (id int)')

const INSERT = 'INSERT INTO payment VALUES ($1)'
const FLUSH = /pg_logical_emit_message/

test('many commits share a few flushes, and all are stored', async () => {
  await using manager = new ManagedConnection(database.conninfo, { groupCommit: true })
  const pay = (id: number): Promise<unknown> =>
    id % 2 === 0
      ? manager.transaction((connection) => connection.query(INSERT, [id]))
      : manager.batch([{ text: INSERT, values: [id] }])
  await Promise.all(Array.from({ length: 64 }, (_, id) => pay(id)))
  assert.equal((await admin.rows('SELECT DISTINCT id FROM payment')).length, 64)
  await until(() => manager.stats.groupCommits === 64, { what: 'the figures' })
  const { flushes } = manager.stats
  assert.ok(flushes >= 1 && flushes <= 32, `${flushes} flushes`)
})

test('who waited for a flush asks for the next turn before the last of them is told of it', async () => {
  await using manager = new ManagedConnection(database.conninfo, { groupCommit: true })
  const told: (number | 'again')[] = []
  const pay = (id: number): Promise<unknown> =>
    manager.transaction((connection) => connection.query(INSERT, [id]))
  const tasks = Array.from({ length: 30 }, async (_, id) => {
    await pay(id)
    told.push(id)
    if (id === 0) await manager.transaction(() => void told.push('again'))
  })
  await Promise.all(tasks)
  const again = told.indexOf('again')
  assert.ok(again > 0 && again < 29, told.join(' '))
  assert.deepEqual(
    told.filter((one) => one !== 'again'),
    Array.from({ length: 30 }, (_, id) => id),
  )
})

test('a process that is busy with other things does not keep them from being told', async () => {
  await using manager = new ManagedConnection(database.conninfo, { groupCommit: true })
  let turns = 0
  /** For each flush: in which turns of the event loop those were told who had waited for it. */
  const toldIn = new Map<number, number[]>()
  let isBusy = false
  const work = (): void => {
    if (!isBusy) return
    turns++
    for (const end = performance.now() + 20; performance.now() < end;);
    setImmediate(work)
  }
  const tasks = Array.from({ length: 60 }, async (_, id) => {
    await manager.transaction((connection) => connection.query(INSERT, [id]))
    if (!isBusy) {
      isBusy = true
      work()
    }
    const { flushes } = manager.stats
    toldIn.set(flushes, [...(toldIn.get(flushes) ?? []), turns])
  })
  await Promise.all(tasks).finally(() => (isBusy = false))
  for (const told of toldIn.values()) {
    assert.ok(told.at(-1)! - told[0]! <= 3, `told in these turns: ${told.join(' ')}`)
  }
})

test('the transaction runs with synchronous_commit off, the session stays as it was', async () => {
  await using manager = new ManagedConnection(database.conninfo, { groupCommit: true })
  const show = 'SHOW synchronous_commit'
  const inside = await manager.transaction(async (connection) => {
    const first = await connection.query(show)
    await connection.transaction((inner) => inner.query(INSERT, [1]))
    return [...first.rows, ...(await connection.query(show)).rows]
  })
  assert.deepEqual(inside, [{ synchronous_commit: 'off' }, { synchronous_commit: 'off' }])
  for (const options of [{ groupCommit: false }, { accessMode: 'read only' }] as const) {
    const outside = await manager.transaction((connection) => connection.query(show), options)
    assert.deepEqual(outside.rows, [{ synchronous_commit: 'on' }])
  }
  assert.deepEqual((await manager.query(show)).rows, [{ synchronous_commit: 'on' }])
})

test('a text, a BEGIN of the user’s or modes of the transaction change nothing of that', async () => {
  await using manager = new ManagedConnection(database.conninfo, { groupCommit: true })
  const show = 'SELECT current_setting($$synchronous_commit$$) AS level'
  const seen: unknown[] = []
  await manager.transaction(async (connection) => {
    await connection.query(`SELECT 1; ${show}`)
    seen.push(...(await connection.query(show)).rows)
  })
  await manager.transaction(async (connection) => seen.push(...(await connection.query(show)).rows), {
    isolationLevel: 'serializable',
  })
  assert.deepEqual(seen, [{ level: 'off' }, { level: 'off' }])
})

test(
  'it resolves behind the answer to a flush, and not behind that to its COMMIT',
  { needs: ['wire'] },
  async () => {
    await using wire = await openConnected(database, { groupCommit: true })
    const { manager, proxy } = wire
    await manager.transaction((connection) => connection.query('SELECT 1'))
    const flushing = createGate()
    proxy.onChunk = (direction, chunk) => {
      if (direction === 'toServer' && FLUSH.test(chunk.toString('latin1'))) {
        proxy.onChunk = null
        proxy.pause('toServer')
        flushing.open()
      }
      return chunk
    }
    let done = false
    const paid = manager.transaction((connection) => connection.query(INSERT, [1])).then(() => (done = true))
    await flushing.opened
    assert.equal(done, false)
    proxy.resume('toServer')
    await paid
    assert.equal(done, true)
  },
)

test('whoever takes no part is served behind a flush', { needs: ['wire'] }, async () => {
  await using wire = await openProxied(database, { groupCommit: true })
  const { manager, recording } = wire
  await manager.transaction((connection) => connection.query('SELECT 1'))
  const others = {
    'a one-shot': () => manager.query('SELECT 11 AS other'),
    'a holder': () =>
      manager.use((connection) => connection.query('SELECT 12 AS other'), { autocommit: true }),
    'a transaction': () =>
      manager.transaction((connection) => connection.query('SELECT 13 AS other'), { groupCommit: false }),
  }
  for (const [who, ask] of Object.entries(others)) {
    recording.clear()
    const paid = manager.transaction((connection) => connection.query(INSERT, [1]))
    await Promise.all([paid, ask()])
    const texts = recording.sent().map((message) => JSON.stringify(message))
    const commit = texts.findIndex((text) => /COMMIT/.test(text))
    const flush = texts.findIndex((text) => FLUSH.test(text))
    const other = texts.findIndex((text) => /AS other/.test(text))
    assert.ok(commit < flush && flush < other, `${who}: ${texts.join('\n')}`)
  }
})

for (const [what, options, ofTheCall] of [
  ['that closes the connection', {}, { close: true }],
  ['whose failure would close it', { closeOn: 'database-error' }, {}],
  ['on a connection that is to be replaced', { maxLifetimeMillis: 1 }, {}],
] as const) {
  test(`a transaction ${what} is flushed before that`, async () => {
    await using manager = new ManagedConnection(database.conninfo, { groupCommit: true, ...options })
    const paid = manager.transaction(async (connection) => {
      await connection.query(INSERT, [800])
      await sleep(5)
    }, ofTheCall)
    await within(paid, 'the payment', 5_000)
    await until(() => manager.stats.groupCommits === 1 && manager.stats.flushes === 1, {
      what: 'the figures',
    })
    await within(manager.query('SELECT 1'), 'the next', 5_000)
  })
}

test('commits do not wait for ever behind a line that does not end', async () => {
  await using manager = new ManagedConnection(database.conninfo, { groupCommit: true })
  let isOver = false
  const pay = async (): Promise<unknown> =>
    isOver ? null : manager.transaction((connection) => connection.query(INSERT, [1]))
  await pay()
  const first = pay().then(() => (isOver = true))
  // Each asks for the next one before it is confirmed itself.
  const line = async (): Promise<void> => {
    const asked: Promise<unknown>[] = []
    while (!isOver) {
      asked.push(pay(), pay())
      await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(asked)
  }
  await Promise.all([first, line()])
})

test('lost before it is durable, nobody knows whether it will last', { needs: ['wire'] }, async () => {
  await using wire = await openConnected(database, { groupCommit: true })
  const { manager, proxy } = wire
  await manager.transaction((connection) => connection.query('SELECT 1'))
  proxy.onChunk = (direction, chunk, connection) => {
    if (direction !== 'toServer' || !FLUSH.test(chunk.toString('latin1'))) return chunk
    proxy.onChunk = null
    connection.cut('reset')
    return null
  }
  const paid = manager.transaction((connection) => connection.query(INSERT, [1]))
  const error = await caught(paid, ConnectionLostError)
  assert.equal(error.commitOutcome, 'unknown')
  assert.equal(error.retrySafe, false)
})

test('a transaction that fails waits for nobody’s flush', async () => {
  await using manager = new ManagedConnection(database.conninfo, { groupCommit: true })
  const settled = await Promise.all([
    outcome(manager.transaction(() => Promise.reject(new Error('own')))),
    outcome(manager.transaction((connection) => connection.query('SELECT 1 / 0'))),
    outcome(manager.batch([{ text: INSERT, values: [1] }, 'SELECT 1 / 0'])),
    outcome(manager.transaction((connection) => connection.query(INSERT, [700]))),
  ])
  assert.deepEqual(
    settled.map(({ status }) => status),
    ['rejected', 'rejected', 'rejected', 'fulfilled'],
  )
  assert.equal(((settled[2] as PromiseRejectedResult).reason as { index: number }).index, 1)
  assert.deepEqual(await admin.rows('SELECT id FROM payment WHERE id = 700'), [{ id: 700 }])
})

test('a server that cannot flush is refused before anything is done', { needs: ['users'] }, async () => {
  const role = `unflushing_${process.pid}`
  const [{ signature }] = (await admin.rows(
    `SELECT oid::regprocedure::text AS signature FROM pg_proc
     WHERE proname = 'pg_logical_emit_message' AND prorettype = 'pg_lsn'::regtype
       AND proargtypes[2] = 'text'::regtype`,
  )) as [{ signature: string }]
  await admin.query(`CREATE ROLE ${role} LOGIN; GRANT INSERT ON payment TO ${role};
    REVOKE EXECUTE ON FUNCTION ${signature} FROM PUBLIC`)
  try {
    const conninfo = toConninfo({ ...database.login, user: role }, database.name)
    await using manager = new ManagedConnection(conninfo, { groupCommit: true })
    const error = await caught(
      manager.transaction((connection) => connection.query(INSERT, [99])),
      UnsupportedServerError,
    )
    assert.match(error.message, /groupCommit.*pg_logical_emit_message/)
    assert.deepEqual(await admin.rows('SELECT 1 FROM payment WHERE id = 99'), [])
    await manager.query(INSERT, [98])
    // It may have been allowed when it was looked at, and not be any more.
    await admin.query(`GRANT EXECUTE ON FUNCTION ${signature} TO PUBLIC`)
    await manager.transaction((connection) => connection.query(INSERT, [97]))
    await admin.query(`REVOKE EXECUTE ON FUNCTION ${signature} FROM PUBLIC`)
    const lost = await caught(
      manager.transaction((connection) => connection.query(INSERT, [96])),
      ConnectionLostError,
    )
    assert.equal(lost.commitOutcome, 'unknown')
    assert.match(lost.message, /could not be made durable/)
    await manager.query(INSERT, [95])
  } finally {
    await admin.query(`GRANT EXECUTE ON FUNCTION ${signature} TO PUBLIC`)
    await admin.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  }
})

test(
  'a batch that is lost together with its COMMIT may have been committed',
  { needs: ['wire'] },
  async () => {
    await using wire = await openConnected(database, { groupCommit: true })
    const { manager, proxy } = wire
    await manager.batch(['SELECT 1'])
    let isCommitting = false
    proxy.onChunk = (direction, chunk, connection) => {
      if (direction === 'toServer' && chunk.includes('COMMIT')) {
        isCommitting = true
        // By then the server has done both, and nothing of its answers has come back.
        setTimeout(() => {
          proxy.onChunk = null
          connection.cut('reset')
        }, 1_000)
      }
      return direction === 'toClient' && isCommitting ? null : chunk
    }
    const error = await caught(
      // BEGIN is answered early, because the answers do not fit into the server's buffer.
      manager.batch([`SELECT repeat('x', 30000)`, 'SELECT pg_sleep(0.3)', { text: INSERT, values: [777] }]),
      ConnectionLostError,
    )
    assert.equal((await admin.rows('SELECT 1 FROM payment WHERE id = 777')).length, 1)
    assert.equal(error.commitOutcome, 'unknown')
    assert.equal(error.retrySafe, false)
  },
)

test('a holder who has not spoken yet does not keep others from becoming durable', async () => {
  await using manager = new ManagedConnection(database.conninfo, { groupCommit: true })
  await manager.transaction((connection) => connection.query('SELECT 1'))
  const before = manager.transaction((connection) => connection.query(INSERT, [1]))
  await within(
    manager.transaction(async (connection) => {
      await before
      await connection.query('SELECT 1')
    }),
    'a transaction that waits for the one before it',
  )
})
