/** What is a fact about the session, and what is none: codes that look like one, encodings, severities. */
import assert from 'node:assert/strict'
import { ConnectionLostError, ManagedConnection } from 'pg-managed-connection'
import { reason as rejectionOf } from '../support/caught.js'
import { backend, message } from '../support/backend-messages.js'
import { LOGIN, answerWell, startRawServer } from '../support/raw-server.js'
import { openSuite } from '../support/suite.js'

const { test, database } = await openSuite()
const { admin } = database

await admin.query(`
  CREATE FUNCTION fail_with(code text) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = code; END $$;
  CREATE FUNCTION garble() RETURNS text LANGUAGE sql AS $$ SELECT set_config('client_encoding', 'LATIN1', false) $$;
  CREATE TABLE words (word text);
`)

async function keeps(manager: ManagedConnection, work: () => Promise<unknown>): Promise<void> {
  await manager.query('CREATE TEMP TABLE mine (n int)')
  const { processID } = manager.stats
  await work()
  await manager.query('SELECT * FROM mine')
  assert.equal(manager.stats.processID, processID)
  await manager.query('DROP TABLE mine')
}

test('an ERROR whose code looks like a broken connection’s breaks nothing, whoever raises it', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (const code of ['08P01', '08006', '08000', '57P01', '57P02', '57P03', '25006', 'XX000']) {
    await keeps(manager, () => assert.rejects(manager.query('SELECT fail_with($1)', [code]), { code }))
    const held = (): Promise<unknown> =>
      manager.use((connection) => connection.query('SELECT fail_with($1)', [code]))
    await keeps(manager, () => assert.rejects(held, { code }))
  }
})

test('a wrong number of values is its caller’s error, and the session goes on', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const wrong = [
    { text: 'SELECT $1::int, $2::int', values: [1] },
    { text: 'SELECT $1::int', values: [1, 2] },
    { text: 'SELECT $1::int, $2::int', values: [1], name: 'named' },
  ]
  for (const config of wrong) {
    for (const ask of [
      () => manager.query(config),
      () => manager.transaction((connection) => connection.query(config)),
      () => manager.batch([config]),
    ])
      await keeps(manager, () => assert.rejects(ask, { code: '08P01' }))
  }
})

test('another server’s error that is thrown through use() says nothing about this session', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await using another = new ManagedConnection(database.conninfo)
  await keeps(manager, () =>
    assert.rejects(
      manager.use(() => another.query('SELECT fail_with($1)', ['57P01'])),
      { code: '57P01' },
    ),
  )
})

test('an encoding that a holder sets ends with its turn: the next one’s texts are stored as they are', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const sets: (() => Promise<unknown>)[] = [
    () =>
      manager.use((connection) => connection.query("SET client_encoding TO 'LATIN1'"), { autocommit: true }),
    () => manager.transaction((connection) => connection.query("SET client_encoding TO 'LATIN1'")),
    () => manager.transaction((connection) => connection.query("SET LOCAL client_encoding TO 'LATIN1'")),
    () => manager.query("SET client_encoding TO 'LATIN1'"),
    () => manager.query("SELECT set_config('client_encoding', 'LATIN1', false)"),
  ]
  for (const set of sets) {
    const inLine = [
      set(),
      manager.query("INSERT INTO words VALUES ('é€') RETURNING length(word)::int AS n, word"),
    ]
    const [, stored] = (await Promise.all(inLine)) as [unknown, { rows: unknown[] }]
    assert.deepEqual(stored.rows, [{ n: 2, word: 'é€' }])
    const written = manager.transaction((connection) =>
      connection.query('INSERT INTO words VALUES ($1) RETURNING length(word)::int AS n, word', ['é€']),
    )
    assert.deepEqual((await written).rows, [{ n: 2, word: 'é€' }])
  }
  assert.equal(manager.stats.disconnects, 0)
})

test('a function that changes the encoding under others’ one-shots: none of them is told that all went well', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT')
  const asked = [
    manager.query('SELECT garble()'),
    manager.query("INSERT INTO words VALUES ('é€')"),
    manager.query('INSERT INTO words VALUES ($1)', ['é€']),
  ]
  for (const outcome of await Promise.allSettled(asked)) {
    assert.equal(outcome.status, 'rejected')
    assert.ok((outcome as PromiseRejectedResult).reason instanceof ConnectionLostError)
  }
  const { rows } = await manager.query("INSERT INTO words VALUES ('é€') RETURNING length(word)::int AS n")
  assert.deepEqual(rows, [{ n: 2 }])
})

test('an encoding that onConnect sets is refused: it would be everybody’s', async () => {
  const onConnect = (client: { query(text: string): Promise<unknown> }): unknown =>
    client.query("SET client_encoding TO 'LATIN1'")
  await using manager = new ManagedConnection(database.conninfo, { onConnect })
  await assert.rejects(manager.query('SELECT 1'), {
    code: 'ERR_CONNECT',
    message: /client_encoding to LATIN1/,
  })
})

/** An ErrorResponse with these fields. */
function errorWith(...fields: string[]): Buffer {
  return message('E', Buffer.from(`${fields.join('\0')}\0\0`))
}

for (const [what, error, isLost] of [
  ['a FATAL in another language', errorWith('SFATALER FEHLER', 'VFATAL', 'C57P01', 'Mende'), true],
  ['a FATAL of an old server or a pooler', errorWith('SFATAL', 'C08P01', 'Mende'), true],
  [
    'an ERROR that is called fatal in another language',
    errorWith('SFATAL', 'VERROR', 'C22012', 'Mnull'),
    false,
  ],
] as const) {
  test(`the severity for programs decides: ${what}`, async () => {
    await using server = await startRawServer((received, peer) => {
      if (received.name === 'Startup') peer.send(...LOGIN)
      else if (received.name === 'Sync') peer.send(error, ...(isLost ? [] : [backend.readyForQuery('I')]))
      else if (received.name === 'Terminate') answerWell(received, peer)
    })
    await using manager = new ManagedConnection(server.conninfo)
    const failure = await rejectionOf(manager.query('SELECT 1'))
    assert.equal(failure instanceof ConnectionLostError, isLost, String(failure))
    assert.equal(manager.closed, isLost)
    if (isLost) assert.equal(((failure as Error).cause as { message?: string }).message, 'ende')
  })
}
