/** How transaction control and statements go over the wire, seen from a proxy between client and server. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { TransactionEndedError, type ManagedConnection } from 'pg-managed-connection'
import { openProxied } from '../support/proxied.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'
import type { Recording } from '../support/recording.js'

const { test, database } = await openSuite()
const { admin } = database

const COMMIT = ['Query COMMIT']
const ROLLBACK = ['Query ROLLBACK']

/** A statement that is sent without a name, with what goes before it in the same piece. */
function unnamed(text: string, ...before: string[]): string[] {
  return [...before, `Parse ${text}`, 'Bind', 'Describe', 'Execute', 'Sync']
}

/** The same, with the BEGIN of its transaction. */
function opening(text: string, begin = 'BEGIN'): string[] {
  return unnamed(text, `Parse ${begin}`, 'Bind', 'Execute', 'Flush')
}

/** Gives what a client sends without waiting for an answer enough time to arrive. */
function settle(): Promise<void> {
  return sleep(60)
}

/** The most units that were on their way at once: each ends with a Sync or is a simple Query. */
function mostInFlight(recording: Recording): number {
  let most = 0
  let inFlight = 0
  for (const { name, direction } of recording.messages) {
    if (direction === 'toServer' && (name === 'Sync' || name === 'Query')) inFlight++
    if (direction === 'toClient' && name === 'ReadyForQuery') inFlight--
    most = Math.max(most, inFlight)
  }
  return most
}

/** Asserts that nothing was unanswered when `message` was sent, and that it was answered before more was sent. */
function assertTravelledAlone(recording: Recording, message: string): void {
  const dialogue = recording.dialogue()
  const at = dialogue.findIndex((line) => line === `> ${message}`)
  assert.ok(at >= 0, `${message} was sent`)
  const before = dialogue.slice(0, at)
  const syncs = before.filter((line) => line === '> Sync' || line.startsWith('> Query')).length
  const answers = before.filter((line) => line.startsWith('< ReadyForQuery')).length
  assert.equal(syncs - answers, 0, `unanswered when ${message} was sent:\n${dialogue.join('\n')}`)
  const ready = dialogue.findIndex((line, index) => index > at && line.startsWith('< ReadyForQuery'))
  const behind = dialogue.slice(at + 1, ready).filter((line) => line.startsWith('> '))
  const ownEnd = behind.indexOf('> Sync')
  const more = message.startsWith('Query') ? behind : behind.slice(ownEnd + 1)
  assert.deepEqual(more, [], `sent behind ${message} before its answer`)
}

async function connected(manager: ManagedConnection, recording: Recording): Promise<void> {
  await manager.query('SELECT')
  recording.clear()
}

test('BEGIN, a Flush and the first statement go out in one piece and share one Sync', async () => {
  await using wire = await openProxied(database)
  await connected(wire.manager, wire.recording)
  await wire.manager.use(async (connection) => {
    await connection.query('SELECT 1')
    await connection.rollback()
  })
  assert.deepEqual(wire.recording.sentTogether(), [opening('SELECT 1'), ROLLBACK])
})

test('COMMIT is unnamed and has a Sync of its own, for use() and for transaction()', async () => {
  await using wire = await openProxied(database, { prepare: false })
  await connected(wire.manager, wire.recording)
  for (let i = 0; i < 3; i++) {
    await wire.manager.use(async (connection) => {
      await connection.query('SELECT 1')
      await connection.commit()
    })
    await wire.manager.transaction((connection) => connection.query('SELECT 2'))
  }
  const once = [opening('SELECT 1'), COMMIT, opening('SELECT 2'), COMMIT].flat()
  assert.deepEqual(wire.recording.sent(), [...once, ...once, ...once])
})

test('the modes of a transaction go along with its BEGIN', async () => {
  await using wire = await openProxied(database)
  await connected(wire.manager, wire.recording)
  await wire.manager.transaction((connection) => connection.query('SELECT 1'), {
    isolationLevel: 'serializable',
    accessMode: 'read only',
    deferrable: true,
  })
  const begin = 'BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE'
  assert.deepEqual(wire.recording.sent(), [...opening('SELECT 1', begin), ...COMMIT])
})

test('commit() and rollback() with nothing open send nothing', async () => {
  await using wire = await openProxied(database)
  await connected(wire.manager, wire.recording)
  await wire.manager.use(async (connection) => {
    await connection.commit()
    await connection.rollback()
    await connection.query('SELECT 1')
    await connection.commit()
    await connection.commit()
    await connection.rollback()
  })
  await wire.manager.transaction(() => {})
  assert.deepEqual(wire.recording.sent(), [...opening('SELECT 1'), ...COMMIT])
})

test('an autocommit holder sends no transaction control', async () => {
  await using wire = await openProxied(database)
  await connected(wire.manager, wire.recording)
  await wire.manager.use(
    async (connection) => {
      await connection.query('SELECT 1')
      await connection.query('SELECT 2')
      await connection.commit()
    },
    { autocommit: true },
  )
  assert.deepEqual(wire.recording.sent(), [...unnamed('SELECT 1'), ...unnamed('SELECT 2')])
})

test('a BEGIN of the user’s own is not doubled', async () => {
  await using wire = await openProxied(database)
  await connected(wire.manager, wire.recording)
  await wire.manager.use(async (connection) => {
    await connection.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await connection.query('SELECT 1')
    await connection.commit()
  })
  assert.equal(wire.recording.sent().filter((message) => message.includes('BEGIN')).length, 1)
})

test('BEGIN is answered before the slow statement behind it', async () => {
  await using wire = await openProxied(database)
  await connected(wire.manager, wire.recording)
  await wire.manager.use(async (connection) => {
    let answered = false
    const slow = connection.query('SELECT pg_sleep(0.5)').finally(() => (answered = true))
    await until(() => wire.recording.received().includes('CommandComplete BEGIN'), { what: 'BEGIN' })
    assert.equal(answered, false)
    assert.ok(!wire.recording.received().includes('ReadyForQuery T'))
    await slow
    await connection.rollback()
  })
})

test('a statement behind a BEGIN that fails is not run, nor are those pipelined behind it', async () => {
  await admin.query('CREATE TABLE behind_begin (id int)')
  await using wire = await openProxied(database)
  await connected(wire.manager, wire.recording)
  wire.proxy.onChunk = (direction, chunk) =>
    direction === 'toServer'
      ? Buffer.from(chunk.toString('latin1').replace('BEGIN\0', 'BEGIM\0'), 'latin1')
      : chunk
  await wire.manager.use(async (connection) => {
    const outcomes = await Promise.allSettled([
      connection.query('INSERT INTO behind_begin VALUES (1)'),
      connection.query('INSERT INTO behind_begin VALUES (2)'),
      connection.query('INSERT INTO behind_begin VALUES (3)'),
    ])
    for (const outcome of outcomes) {
      assert.equal(outcome.status, 'rejected')
      assert.equal((outcome.reason as { code?: string }).code, '42601')
    }
    wire.proxy.onChunk = null
    await connection.query('INSERT INTO behind_begin VALUES (4)')
    await connection.commit()
  })
  assert.deepEqual(await admin.rows('SELECT id FROM behind_begin'), [{ id: 4 }])
})

test('DDL behind a BEGIN that fails is not run', async () => {
  await using wire = await openProxied(database)
  await connected(wire.manager, wire.recording)
  wire.proxy.onChunk = (direction, chunk) =>
    direction === 'toServer'
      ? Buffer.from(chunk.toString('latin1').replace('BEGIN\0', 'BEGIM\0'), 'latin1')
      : chunk
  const failing = wire.manager.transaction(async (connection) => {
    await connection.query('CREATE TABLE never_1 (id int); CREATE TABLE never_2 (id int)')
  })
  await assert.rejects(failing, { code: '42601' })
  wire.proxy.onChunk = null
  assert.deepEqual(await admin.rows(`SELECT to_regclass('never_1') AS a, to_regclass('never_2') AS b`), [
    { a: null, b: null },
  ])
  assert.equal(wire.manager.status, 'idle')
})

test('statements of Promise.all are pipelined and answered in order, behind a stream, too', async () => {
  await using wire = await openProxied(database)
  await wire.manager.use(async (connection) => {
    await connection.query('SELECT 0')
    for await (const _row of connection.stream('SELECT 0'));
    wire.recording.clear()
    wire.proxy.pause('toServer')
    const order: number[] = []
    const asked = Promise.all(
      [1, 2, 3, 4, 5].map(async (n) => {
        const { rows } = await connection.query<{ n: number }>(`SELECT ${n} AS n`)
        order.push(rows[0]!.n)
      }),
    )
    await until(() => wire.recording.sent().filter((message) => message === 'Sync').length === 5, {
      what: 'five statements to be sent with no answer',
    })
    assert.deepEqual(wire.recording.received(), [])
    wire.proxy.resume()
    await asked
    assert.deepEqual(order, [1, 2, 3, 4, 5])
    await connection.rollback()
  })
})

test('statements behind a first one go out when BEGIN is answered and do not wait for it', async () => {
  await using wire = await openProxied(database)
  await connected(wire.manager, wire.recording)
  await wire.manager.use(async (connection) => {
    const asked = Promise.all([connection.query('SELECT pg_sleep(0.4)'), connection.query('SELECT 2')])
    await until(() => wire.recording.sent().includes('Parse SELECT 2'), { what: 'the second statement' })
    assert.ok(!wire.recording.received().includes('CommandComplete SELECT 1'))
    await asked
    await connection.rollback()
  })
})

for (const { what, text, sent } of [
  { what: 'several statements', text: 'SELECT 10; SELECT 20', sent: 'Query SELECT 10; SELECT 20' },
  { what: 'a savepoint', text: 'SAVEPOINT mine', sent: 'Query SAVEPOINT mine' },
  { what: 'a commented ROLLBACK TO', text: '/* ; */ SAVEPOINT x', sent: 'Query /* ; */ SAVEPOINT x' },
]) {
  test(`a text with ${what} travels alone among pipelined statements`, async () => {
    await using wire = await openProxied(database)
    await wire.manager.use(async (connection) => {
      await connection.query('SELECT 0')
      wire.recording.clear()
      wire.proxy.delayMillis = 5
      await Promise.all([
        connection.query('SELECT 1'),
        connection.query('SELECT 2'),
        connection.query(text),
        connection.query('SELECT 3'),
        connection.query('SELECT 4'),
      ])
      wire.proxy.delayMillis = 0
      assertTravelledAlone(wire.recording, sent)
      await connection.rollback()
    })
  })
}

test('a COMMIT in the user’s text is answered before the next statement, which gets a BEGIN of its own', async () => {
  await admin.query('CREATE TABLE own_commit (id int)')
  await using wire = await openProxied(database)
  await connected(wire.manager, wire.recording)
  const failure = new Error('thrown after all')
  const work = wire.manager.use(async (connection) => {
    await Promise.all([
      connection.query('INSERT INTO own_commit VALUES (1)'),
      connection.query('COMMIT'),
      connection.query('INSERT INTO own_commit VALUES (2)'),
    ])
    throw failure
  })
  await assert.rejects(work, failure)
  assertTravelledAlone(wire.recording, 'Query COMMIT')
  assert.equal(wire.recording.sent().filter((message) => message === 'Parse BEGIN').length, 2)
  assert.deepEqual(await admin.rows('SELECT id FROM own_commit'), [{ id: 1 }])
})

test('in transaction() a statement behind the user’s own COMMIT is never sent', async () => {
  await admin.query('CREATE TABLE owned_commit (id int)')
  await using wire = await openProxied(database)
  await connected(wire.manager, wire.recording)
  const work = wire.manager.transaction(async (connection) => {
    await Promise.all([
      connection.query('INSERT INTO owned_commit VALUES (1)'),
      connection.query('COMMIT'),
      connection.query('INSERT INTO owned_commit VALUES (2)'),
    ])
  })
  await assert.rejects(work, TransactionEndedError)
  assert.ok(!wire.recording.sent().includes('Parse INSERT INTO owned_commit VALUES (2)'))
})

test('the next holder’s BEGIN is sent before the answer to the COMMIT of the one before', async () => {
  await using wire = await openProxied(database)
  const { manager, recording, proxy } = wire
  await connected(manager, recording)
  let confirmed = false
  const first = manager
    .transaction(async (connection) => {
      await connection.query('SELECT 1')
      recording.clear()
      proxy.pause('toServer')
    })
    .then(() => (confirmed = true))
  const second = manager.transaction((connection) => connection.query('SELECT 2'))
  await until(() => recording.sent().includes('Parse SELECT 2'), { what: 'the second holder’s statement' })
  assert.deepEqual(recording.sent(), [...COMMIT, ...opening('SELECT 2')])
  assert.deepEqual(recording.received(), [])
  assert.equal(confirmed, false)
  proxy.resume()
  await Promise.all([first, second])
})

test('a chain of holders each follows the COMMIT of the one before while nothing is answered', async () => {
  await admin.query('CREATE TABLE chained (id int)')
  await using wire = await openProxied(database)
  const { manager, recording, proxy } = wire
  await connected(manager, recording)
  proxy.delayMillis = 10
  await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      manager.transaction((connection) => connection.query('INSERT INTO chained VALUES ($1)', [i])),
    ),
  )
  proxy.delayMillis = 0
  assert.equal(mostInFlight(recording), 2)
  const rows = await admin.rows<{ id: number }>('SELECT id FROM chained ORDER BY ctid')
  assert.deepEqual(
    rows.map(({ id }) => id),
    Array.from({ length: 20 }, (_, i) => i),
  )
})

for (const { what, next } of [
  { what: 'a one-shot', next: (manager: ManagedConnection) => manager.query('SELECT 2') },
  { what: 'a batch', next: (manager: ManagedConnection) => manager.batch(['SELECT 2']) },
  {
    what: 'an autocommit holder',
    next: (manager: ManagedConnection) =>
      manager.use((connection) => connection.query('SELECT 2'), { autocommit: true }),
  },
]) {
  test(`${what} is not sent behind a COMMIT that is not answered`, async () => {
    await using wire = await openProxied(database)
    const { manager, recording, proxy } = wire
    await connected(manager, recording)
    const first = manager.transaction(async (connection) => {
      await connection.query('SELECT 1')
      recording.clear()
      proxy.pause('toServer')
    })
    const second = next(manager)
    await until(() => recording.sent().includes('Query COMMIT'), { what: 'COMMIT to be sent' })
    await settle()
    assert.deepEqual(recording.sent(), COMMIT)
    proxy.resume()
    await Promise.all([first, second])
    assertTravelledAlone(recording, 'Query COMMIT')
  })
}

const LIFETIME_MILLIS = 20

for (const { what, options, turn } of [
  { what: 'closeOn is database-error', options: { closeOn: 'database-error' }, turn: {} },
  { what: 'the holder asked for close', options: {}, turn: { close: true } },
  { what: 'a replacement is due', options: { maxLifetimeMillis: LIFETIME_MILLIS }, turn: {} },
] as const) {
  test(`the turn is handed on only when COMMIT is answered where ${what}`, async () => {
    await using wire = await openProxied(database, options)
    const { manager, recording, proxy } = wire
    await connected(manager, recording)
    const first = manager.transaction(async (connection) => {
      await connection.query('SELECT 1')
      // However fast the answer was: until then nothing is due.
      await until(() => manager.stats.connectedMillis! > LIFETIME_MILLIS, { what: 'the session to age' })
      recording.clear()
      proxy.pause('toServer')
    }, turn)
    let served = false
    const second = manager.transaction(async (connection) => {
      served = true
      await connection.query('SELECT 2')
    })
    await until(() => recording.sent().includes('Query COMMIT'), { what: 'COMMIT to be sent' })
    await settle()
    assert.deepEqual(recording.sent(), COMMIT)
    assert.equal(served, false)
    proxy.resume()
    await within(Promise.all([first, second]), 'both')
  })
}

test('a failing COMMIT is its owner’s alone: the holder behind it is served and stored', async () => {
  await admin.query('CREATE TABLE deferred (id int, UNIQUE (id) DEFERRABLE INITIALLY DEFERRED)')
  await admin.query('INSERT INTO deferred VALUES (1)')
  await using wire = await openProxied(database)
  const { manager, recording, proxy } = wire
  await connected(manager, recording)
  const first = manager.transaction(async (connection) => {
    await connection.query('INSERT INTO deferred VALUES (1)')
    proxy.pause('toServer')
  })
  const second = manager.transaction((connection) => connection.query('INSERT INTO deferred VALUES (2)'))
  const refused = assert.rejects(first, { code: '23505' })
  await until(() => recording.sent().includes('Parse INSERT INTO deferred VALUES (2)'), {
    what: 'the second',
  })
  proxy.resume()
  await Promise.all([refused, second])
  assert.deepEqual(await admin.rows('SELECT id FROM deferred ORDER BY id'), [{ id: 1 }, { id: 2 }])
})

test('with pipeline: false nothing is sent before what went before it is answered', async () => {
  await using wire = await openProxied(database, { pipeline: false })
  const { manager, recording, proxy } = wire
  await connected(manager, recording)
  proxy.delayMillis = 3
  await Promise.all([
    manager.transaction((connection) =>
      Promise.all([1, 2, 3].map((n) => connection.query(`SELECT ${n}`)).concat(connection.query('SELECT 4'))),
    ),
    manager.transaction(async (connection) => {
      await connection.transaction((inner) => inner.query('SELECT 5'))
    }),
    manager.query('SELECT 6'),
    manager.query('SELECT 7'),
    manager.batch(['SELECT 8', 'SELECT 9']),
    manager.use(async (connection) => {
      await connection.query('SELECT 10; SELECT 11')
      await connection.commit()
    }),
  ])
  proxy.delayMillis = 0
  assert.equal(mostInFlight(recording), 1)
})

test('one-shots are pipelined with adjacent ones, and DDL among them travels alone', async () => {
  await using wire = await openProxied(database)
  const { manager, recording, proxy } = wire
  await connected(manager, recording)
  proxy.pause('toServer')
  const plain = Promise.all([1, 2, 3].map((n) => manager.query(`SELECT ${n}`)))
  const ddl = manager.query('CREATE TABLE alone (id int)')
  const after = Promise.all([4, 5].map((n) => manager.query(`SELECT ${n}`)))
  await until(() => recording.sent().includes('Parse SELECT 3'), { what: 'the one-shots before' })
  await settle()
  assert.ok(!recording.sent().some((message) => message.includes('CREATE TABLE')))
  assert.equal(recording.sent().filter((message) => message === 'Sync').length, 3)
  proxy.resume()
  await Promise.all([plain, ddl, after])
  const sent = recording.sent().find((message) => message.includes('CREATE TABLE alone'))
  assertTravelledAlone(recording, sent ?? '')
})

test('a holder is not sent behind one-shots that are not answered, nor one-shots behind a holder', async () => {
  await using wire = await openProxied(database)
  const { manager, recording, proxy } = wire
  await connected(manager, recording)
  proxy.pause('toServer')
  const before = manager.query('SELECT 1')
  const holder = manager.use(async (connection) => {
    await connection.query('SELECT 2')
    await connection.rollback()
  })
  const after = manager.query('SELECT 3')
  await until(() => recording.sent().includes('Parse SELECT 1'), { what: 'the one-shot' })
  await settle()
  assert.deepEqual(recording.sent(), unnamed('SELECT 1'))
  proxy.resume()
  await Promise.all([before, holder, after])
  assert.deepEqual(recording.sent(), [
    ...unnamed('SELECT 1'),
    ...opening('SELECT 2'),
    ...ROLLBACK,
    ...unnamed('SELECT 3'),
  ])
})

test('a batch is one piece with one Sync and no transaction control', async () => {
  await using wire = await openProxied(database)
  await connected(wire.manager, wire.recording)
  await wire.manager.batch(['SELECT 1', { text: 'SELECT $1::int', values: [2] }, 'SELECT 3'])
  assert.deepEqual(wire.recording.sentTogether(), [
    [...unnamed('SELECT 1').slice(0, -1), ...unnamed('SELECT $1::int').slice(0, -1), ...unnamed('SELECT 3')],
  ])
  wire.recording.clear()
  await wire.manager.batch(['SET LOCAL work_mem = 65536', 'SELECT 2'])
  assert.equal(wire.recording.sentTogether().length, 1)
})

test('a batch with an isolation level is one piece with BEGIN and COMMIT in it', async () => {
  await using wire = await openProxied(database)
  await connected(wire.manager, wire.recording)
  await wire.manager.batch(['SELECT 1', 'SELECT 2'], { isolationLevel: 'serializable' })
  const pieces = wire.recording.sentTogether()
  assert.equal(pieces.length, 1)
  assert.equal(pieces[0]!.filter((message) => message === 'Sync').length, 1)
  assert.equal(pieces[0]![0], 'Parse BEGIN ISOLATION LEVEL SERIALIZABLE')
  assert.ok(pieces[0]!.includes('Parse COMMIT'))
})

test('batches of several callers are pipelined behind each other', async () => {
  await using wire = await openProxied(database)
  const { manager, recording, proxy } = wire
  await connected(manager, recording)
  proxy.pause('toServer')
  const asked = Promise.all([
    manager.batch(['SELECT 1', 'SELECT 2']),
    manager.query('SELECT 3'),
    manager.batch(['SELECT 4']),
  ])
  await until(() => recording.sent().includes('Parse SELECT 4'), { what: 'the second batch' })
  assert.deepEqual(recording.received(), [])
  proxy.resume()
  await asked
})

/** The statements among what was sent: `Parse …` where they were parsed, `Bind …` where they were bound by a name. */
function parsesAndBinds(recording: Recording): string[] {
  return recording.sent().filter((message) => /^(?:Parse|Bind \S|Close)/.test(message))
}

test('a statement is prepared from its second use on, by its text', async () => {
  await using wire = await openProxied(database)
  const { manager, recording } = wire
  await connected(manager, recording)
  for (let i = 0; i < 4; i++) await manager.query('SELECT $1::int AS n', [i])
  const [first, second, ...binds] = parsesAndBinds(recording)
  assert.equal(first, 'Parse SELECT $1::int AS n')
  const name = /^Parse (\S+): SELECT \$1::int AS n$/.exec(second ?? '')?.[1]
  assert.deepEqual(binds, [`Bind ${name}`, `Bind ${name}`, `Bind ${name}`])
  assert.equal(manager.stats.prepared, 1)
})

test('a prepared statement is described once and gives the same rows each time', async () => {
  await using wire = await openProxied(database)
  const { manager, recording } = wire
  await connected(manager, recording)
  const results = []
  for (let i = 0; i < 4; i++)
    results.push(await manager.query('SELECT $1::int AS n, now() > $2 AS late', [i, '2000-01-01']))
  assert.deepEqual(
    results.map(({ rows }) => rows as unknown),
    [0, 1, 2, 3].map((n) => [{ n, late: true }]),
  )
  assert.deepEqual(
    results.map(({ fields }) => fields.map(({ name }) => name)),
    [0, 1, 2, 3].map(() => ['n', 'late']),
  )
  assert.equal(recording.sent().filter((message) => message === 'Describe').length, 2)
})

test('statements are shared between holders, one-shots and batches on the same connection', async () => {
  await using wire = await openProxied(database)
  const { manager, recording } = wire
  await connected(manager, recording)
  await manager.transaction((connection) => connection.query('SELECT 7 AS n'))
  await manager.query('SELECT 7 AS n')
  recording.clear()
  await manager.transaction((connection) => connection.query('SELECT 7 AS n'))
  await manager.batch(['SELECT 7 AS n'])
  const texts = parsesAndBinds(recording).filter((message) => message.includes('SELECT 7'))
  assert.deepEqual(texts, [])
})

test('at most maxPrepared statements are prepared; the least recently used one is closed', async () => {
  await using wire = await openProxied(database, { maxPrepared: 2 })
  const { manager, recording } = wire
  await connected(manager, recording)
  const twice = async (text: string): Promise<void> => {
    await manager.query(text)
    await manager.query(text)
  }
  await twice('SELECT 1 AS a')
  await twice('SELECT 2 AS b')
  await manager.query('SELECT 1 AS a')
  await twice('SELECT 3 AS c')
  const { rows } = await manager.query<{ statement: string }>(
    'SELECT statement FROM pg_prepared_statements ORDER BY statement',
  )
  const nameOf = (text: string): string | undefined =>
    recording
      .sent()
      .map((message) => new RegExp(`^Parse (\\S+): ${text}$`).exec(message)?.[1])
      .find((name) => name !== undefined)
  assert.deepEqual(
    recording.sent().filter((message) => message.startsWith('Close')),
    [`Close ${nameOf('SELECT 2 AS b')}`],
  )
  assert.equal(manager.stats.prepared, 2)
  assert.deepEqual(
    rows.map(({ statement }) => statement),
    ['SELECT 1 AS a', 'SELECT 3 AS c'],
  )
})

test('texts of up to 16 KiB are prepared, longer ones never', async () => {
  await using wire = await openProxied(database)
  const { manager } = wire
  const limit = 16 * 1024
  const long = (bytes: number): string => `SELECT 1 /*${'x'.repeat(bytes - 'SELECT 1 /**/'.length)}*/`
  for (let i = 0; i < 3; i++) {
    await manager.query(long(limit + 1))
    await manager.query(`${long(limit)}`)
  }
  const { rows } = await manager.query<{ bytes: number }>(
    'SELECT octet_length(statement) AS bytes FROM pg_prepared_statements',
  )
  assert.deepEqual(rows, [{ bytes: limit }])
})

test('with prepare: false nothing is prepared', async () => {
  await using wire = await openProxied(database, { prepare: false })
  const { manager, recording } = wire
  await connected(manager, recording)
  for (let i = 0; i < 3; i++) {
    await manager.query('SELECT 1')
    await manager.transaction((connection) => connection.query('SELECT 2'))
    await manager.batch(['SELECT 3'])
  }
  assert.ok(recording.sent().every((message) => !/^Parse \S+: |^Bind \S/.test(message)))
  assert.equal(manager.stats.prepared, 0)
})

test('a statement that the user names is parsed once', async () => {
  await using wire = await openProxied(database)
  const { manager, recording } = wire
  await connected(manager, recording)
  for (let i = 0; i < 3; i++) {
    const { rows } = await manager.query<{ n: number }>({
      name: 'mine',
      text: 'SELECT $1::int AS n',
      values: [i],
    })
    assert.deepEqual(rows, [{ n: i }])
  }
  assert.deepEqual(parsesAndBinds(recording), [
    'Parse mine: SELECT $1::int AS n',
    'Bind mine',
    'Bind mine',
    'Bind mine',
  ])
})

test('a text that fails to parse does not take its name along: the next use works', async () => {
  await using wire = await openProxied(database)
  const { manager } = wire
  for (let i = 0; i < 3; i++)
    await assert.rejects(manager.query('SELECT * FROM comes_later'), { code: '42P01' })
  await admin.query('CREATE TABLE comes_later AS SELECT 1 AS one')
  for (let i = 0; i < 3; i++) {
    assert.deepEqual((await manager.query('SELECT * FROM comes_later')).rows, [{ one: 1 }])
  }
})

for (const text of ['DEALLOCATE ALL', 'DISCARD ALL', 'deallocate all; select 1']) {
  test(`after "${text}" transactions commit, and prepared texts are prepared anew`, async () => {
    await using wire = await openProxied(database)
    const { manager } = wire
    for (let i = 0; i < 3; i++) await manager.transaction((connection) => connection.query('SELECT 1 AS one'))
    await manager.use((connection) => connection.query(text), { autocommit: true })
    for (let i = 0; i < 3; i++) {
      const { rows } = await manager.transaction((connection) => connection.query('SELECT 1 AS one'))
      assert.deepEqual(rows, [{ one: 1 }])
    }
  })
}

test('statements deallocated behind its back, by a trigger, fail a later statement of a transaction, and nobody else', async () => {
  await admin.query(`
    CREATE TABLE forgetful (id int);
    CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN NEW; END $$;
    CREATE TRIGGER forget BEFORE INSERT ON forgetful FOR EACH ROW EXECUTE FUNCTION forget()`)
  await using wire = await openProxied(database)
  const { manager } = wire
  const text = 'SELECT 1 AS one'
  const forget = async (): Promise<void> => {
    for (let i = 0; i < 3; i++) await manager.query(text)
    await manager.query('INSERT INTO forgetful VALUES (1)')
  }
  const inTransaction = (...before: string[]): Promise<{ rows: unknown[] }> =>
    manager.transaction(async (connection) => {
      for (const other of before) await connection.query(other)
      return connection.query(text)
    })
  await forget()
  assert.deepEqual((await manager.query(text)).rows, [{ one: 1 }])
  await forget()
  assert.deepEqual((await manager.batch(['SELECT 0', text]))[1]!.rows, [{ one: 1 }])
  await forget()
  await assert.rejects(inTransaction('SELECT 3'), { code: '26000' })
  assert.deepEqual((await inTransaction('SELECT 2')).rows, [{ one: 1 }])
  await forget()
  assert.deepEqual((await inTransaction()).rows, [{ one: 1 }])
})

test('ALTER TABLE elsewhere fails a prepared SELECT * later in a transaction once, and nobody else', async () => {
  await admin.query('CREATE TABLE altered AS SELECT 1 AS one')
  await using wire = await openProxied(database)
  const { manager } = wire
  const text = 'SELECT * FROM altered'
  const prepare = async (): Promise<void> => {
    for (let i = 0; i < 3; i++) await manager.query(text)
  }
  await prepare()
  await admin.query('ALTER TABLE altered ADD two int')
  assert.deepEqual((await manager.query(text)).rows, [{ one: 1, two: null }])
  await prepare()
  await admin.query('ALTER TABLE altered ADD three int')
  const later = async (): Promise<unknown[]> => {
    const { rows } = await manager.transaction(async (connection) => {
      await connection.query('SELECT 0')
      return connection.query(text)
    })
    return rows
  }
  await assert.rejects(later(), { code: '0A000' })
  assert.deepEqual(await later(), [{ one: 1, two: null, three: null }])
  await prepare()
  await admin.query('ALTER TABLE altered DROP two')
  const { rows } = await manager.transaction((connection) => connection.query(text))
  assert.deepEqual(rows, [{ one: 1, three: null }])
})

test('the rows of pipelined uses of a text that changes its columns are read right, or refused', async () => {
  await admin.query('CREATE TABLE widened AS SELECT 1 AS one')
  await using wire = await openProxied(database)
  const { manager } = wire
  for (let i = 0; i < 3; i++) await manager.query('SELECT * FROM widened')
  await admin.query('ALTER TABLE widened ADD two text DEFAULT $$x$$')
  const results = await Promise.allSettled([1, 2, 3].map(() => manager.query('SELECT * FROM widened')))
  for (const result of results) {
    // Those with something behind them are not sent again.
    if (result.status === 'rejected') assert.equal((result.reason as { code?: string }).code, '0A000')
    else assert.deepEqual(result.value.rows, [{ one: 1, two: 'x' }])
  }
  assert.equal(results[2]!.status, 'fulfilled')
  assert.deepEqual((await manager.query('SELECT * FROM widened')).rows, [{ one: 1, two: 'x' }])
})

test('the same text twice in one pipeline, and a third time, gives its rows each time', async () => {
  await using wire = await openProxied(database)
  const { manager } = wire
  for (let round = 0; round < 3; round++) {
    const results = await Promise.all(
      [1, 2, 3, 4].map((n) => manager.query<{ n: number }>('SELECT $1::int AS n', [n])),
    )
    assert.deepEqual(
      results.map(({ rows }) => rows[0]!.n),
      [1, 2, 3, 4],
    )
  }
  assert.equal(manager.stats.prepared, 1)
})

test('a nested transaction asked for while an autocommit statement is unanswered is atomic all the same', async () => {
  await admin.query('CREATE TABLE nested_behind (id int)')
  await using wire = await openProxied(database)
  const { manager } = wire
  await manager.use(
    async (connection) => {
      const slow = connection.query('SELECT pg_sleep(0.2)')
      const nested = connection.transaction(async (inner) => {
        await inner.query('INSERT INTO nested_behind VALUES (1)')
        throw new Error('thrown by the nested work')
      })
      await assert.rejects(nested, /thrown by the nested work/)
      await slow
      assert.equal(connection.status, 'idle')
      await connection.transaction(async (inner) => {
        await inner.query('INSERT INTO nested_behind VALUES (2)')
      })
    },
    { autocommit: true },
  )
  assert.deepEqual(await admin.rows('SELECT id FROM nested_behind'), [{ id: 2 }])
})
