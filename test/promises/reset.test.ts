/** `reset: 'session'`: what a holder changes in the session is gone when the next one gets it. */
import assert from 'node:assert/strict'
import {
  UncommittedTransactionError,
  type Connection,
  type ManagedConnectionOptions,
} from 'pg-managed-connection'
import { caught } from '../support/caught.js'
import { openProxied } from '../support/proxied.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'
import type { Need } from '../support/face.js'
import { ManagedConnection } from '../support/managed.js'
import { openManager } from '../support/manager.js'

const { test, database } = await openSuite()
const { admin } = database

const OWNER = `tenant_${process.pid}`
await admin.query(`CREATE SCHEMA app; CREATE TABLE app.things AS SELECT 'of app' AS origin;
  CREATE SCHEMA other; CREATE TABLE other.things AS SELECT 'of other' AS origin;
  CREATE SEQUENCE numbers`)

function openResetting(options: ManagedConnectionOptions = {}): ManagedConnection & AsyncDisposable {
  return openManager(database.conninfo, { reset: 'session', ...options })
}

async function setting(manager: ManagedConnection, name: string): Promise<string | null> {
  const { rows } = await manager.query<{ value: string | null }>(
    'SELECT current_setting($1, true) AS value',
    [name],
  )
  return rows[0]!.value
}

/** Runs statements as a holder that commits them. */
async function leave(manager: ManagedConnection, ...texts: string[]): Promise<void> {
  await manager.use(async (connection) => {
    for (const text of texts) await connection.query(text)
    await connection.commit()
  })
}

const CHANGES: { what: string; change: string; look: string; expected: unknown; needs?: Need[] }[] = [
  {
    what: 'a setting',
    change: `SET work_mem = '123MB'; SET statement_timeout = '1h'`,
    look: `SELECT current_setting('work_mem') || current_setting('statement_timeout') AS v`,
    expected: '4MB0',
  },
  {
    what: 'the search_path',
    change: 'SET search_path = app',
    look: `SELECT current_setting('search_path') AS v`,
    expected: '"$user", public',
    needs: ['defaults'],
  },
  {
    what: 'the role',
    change: 'SET ROLE pg_monitor',
    look: 'SELECT current_user = session_user AS v',
    expected: true,
  },
  {
    what: 'the session authorization',
    change: 'SET SESSION AUTHORIZATION pg_monitor',
    look: `SELECT session_user <> 'pg_monitor' AS v`,
    expected: true,
    needs: ['users'],
  },
  {
    what: 'a temporary table',
    change: 'CREATE TEMP TABLE passing (id int)',
    look: `SELECT to_regclass('passing') AS v`,
    expected: null,
  },
  {
    what: 'a cursor WITH HOLD',
    change: 'DECLARE held CURSOR WITH HOLD FOR SELECT 1',
    look: 'SELECT count(*)::int AS v FROM pg_cursors WHERE is_holdable',
    expected: 0,
  },
  {
    what: 'an advisory lock',
    change: 'SELECT pg_advisory_lock(7)',
    look: `SELECT count(*)::int AS v FROM pg_locks WHERE locktype = 'advisory'`,
    expected: 0,
  },
  {
    what: 'a setting of the user’s own',
    change: `SET app.tenant = 'left behind'`,
    look: `SELECT coalesce(current_setting('app.tenant', true), '') AS v`,
    expected: '',
  },
]

for (const { what, change, look, expected, needs = [] } of CHANGES) {
  for (const how of ['use', 'transaction', 'autocommit', 'one-shot', 'acquire'] as const) {
    test(`${what} that a holder of ${how} leaves is gone for the next`, { needs }, async () => {
      await using manager = openResetting()
      for (let round = 0; round < 2; round++) {
        switch (how) {
          case 'use':
            await leave(manager, change)
            break
          case 'transaction':
            await manager.transaction((connection) => connection.query(change))
            break
          case 'autocommit':
            await manager.use((connection) => connection.query(change), { autocommit: true })
            break
          case 'one-shot':
            await manager.query(change)
            break
          case 'acquire': {
            await using connection = await manager.acquire()
            await connection.query(change)
            await connection.commit()
          }
        }
        assert.deepEqual((await manager.query(look)).rows, [{ v: expected }])
        await manager.use(async (connection) => {
          assert.deepEqual((await connection.query(look)).rows, [{ v: expected }])
          await connection.rollback()
        })
      }
      assert.equal(manager.stats.connects, 1)
    })
  }
}

for (const what of ['a holder', 'a one-shot'] as const) {
  test(`what a one-shot with an open transaction has left is gone before ${what} behind it is served`, async () => {
    await using manager = openResetting()
    await manager.query('SELECT 1')
    const look = `SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()`
    const leaving = caught(manager.query('BEGIN; SELECT pg_advisory_lock(7)'), UncommittedTransactionError)
    const next =
      what === 'a holder'
        ? manager.use((connection) => connection.query(look), { autocommit: true })
        : manager.query(look)
    await leaving
    assert.deepEqual((await next).rows, [{ n: 0 }])
  })
}

test('without it a setting stays for the next holder', async () => {
  await using manager = openResetting({ reset: 'none' })
  await leave(manager, `SET work_mem = '123MB'`)
  assert.equal(await setting(manager, 'work_mem'), '123MB')
})

test("a setting's name is found with letters of any alphabet", async () => {
  const name = 'größe.länge.maß'
  await using manager = openResetting({
    onConnect: async (client) => {
      await client.query('SELECT set_config($1, $2, false)', [name, 'XL'])
    },
  })
  await manager.query('SELECT set_config($1, $2, false)', [name, 'theirs'])
  assert.equal(await setting(manager, name), 'XL')
})

test('what onConnect sends is not looked at without a reset, and a long text does not take long with one', async () => {
  for (const reset of ['none', 'session'] as const) {
    let own: boolean | undefined
    await using manager = openResetting({
      reset,
      onConnect: async (client) => {
        own = !Object.hasOwn(client, 'query')
        // At a cost that grew with its square, this would take minutes.
        await client.query('SELECT length($1)', ['ab'.repeat(250_000)])
      },
    })
    await manager.query('SELECT 1')
    assert.equal(own, reset === 'none')
  }
})

test('what onConnect has set is what the session returns to', { needs: ['defaults'] }, async () => {
  await admin.query(`CREATE ROLE ${OWNER}; GRANT USAGE ON SCHEMA app, other TO ${OWNER};
    GRANT SELECT ON app.things, other.things TO ${OWNER}`)
  try {
    await using manager = openResetting({
      onConnect: async (client) => {
        await client.query('SET search_path = app')
        await client.query(`SET app.tenant = 'it''s "mine"'`)
        await client.query(`SELECT set_config($1, $2, false)`, ['app.other', 'by value'])
        await client.query(`SET work_mem = '77MB'; SET TIME ZONE 'Asia/Tokyo'`)
        await client.query(`SET ROLE ${OWNER}`)
      },
    })
    const look = async (): Promise<unknown> => {
      const { rows } = await manager.query(`
        SELECT (SELECT origin FROM things) AS origin, current_user::text AS who,
          current_setting('app.tenant') AS tenant, current_setting('app.other') AS other,
          current_setting('work_mem') AS mem, current_setting('TimeZone') AS zone`)
      return rows[0] as unknown
    }
    const expected = {
      origin: 'of app',
      who: OWNER,
      tenant: `it's "mine"`,
      other: 'by value',
      mem: '77MB',
      zone: 'Asia/Tokyo',
    }
    assert.deepEqual(await look(), expected)
    const changes = [
      'SET search_path = other',
      `SET app.tenant = 'theirs'`,
      `SET app.other = 'theirs'`,
      `SET work_mem = '1MB'`,
      `SET TIME ZONE 'UTC'`,
      'RESET ROLE',
      'RESET ALL',
    ]
    for (const change of changes) {
      await leave(manager, change)
      assert.deepEqual(await look(), expected, change)
      await manager.query(change)
      assert.deepEqual(await look(), expected, change)
    }
    assert.equal(manager.stats.connects, 1)
  } finally {
    await admin.query(`DROP OWNED BY ${OWNER}; DROP ROLE ${OWNER}`)
  }
})

test('what the connection string asks for is kept, too', { needs: ['processes'] }, async () => {
  const manager = new ManagedConnection(`${database.conninfo}&options=-c%20work_mem%3D55MB`, {
    reset: 'session',
  })
  try {
    await leave(manager, `SET work_mem = '1MB'`)
    assert.equal(await setting(manager, 'work_mem'), '55MB')
  } finally {
    await manager.end()
  }
})

test('SET LOCAL, a rolled back SET and a holder that throws leave nothing either', async () => {
  await using manager = openResetting()
  await leave(manager, `SET LOCAL work_mem = '1MB'`)
  await manager.use(async (connection) => {
    await connection.query(`SET work_mem = '1MB'`)
    await connection.rollback()
  })
  await assert.rejects(
    manager.use(async (connection) => {
      await connection.query(`SET work_mem = '1MB'`)
      await connection.commit()
      await connection.query('SELECT 1/0')
    }),
  )
  await assert.rejects(manager.use((connection) => connection.query(`SET work_mem = '1MB'`)))
  assert.equal(await setting(manager, 'work_mem'), '4MB')
})

/** How many times the client had to wait for an answer before it sent more. */
function roundTrips(dialogue: readonly string[]): number {
  return dialogue.filter((line, index) => line.startsWith('< ') && dialogue[index + 1]?.startsWith('> '))
    .length
}

test('a reset costs no added round trip', { needs: ['wire'] }, async () => {
  const trips: number[] = []
  for (const reset of ['none', 'session'] as const) {
    await using wire = await openProxied(database, { reset, prepare: false })
    const { manager, proxy, recording } = wire
    await manager.transaction((connection) => connection.query('SELECT 0'))
    await until(() => manager.stats.inFlight === 0, { what: 'the reset' })
    recording.clear()
    proxy.delayMillis = 15
    for (let i = 0; i < 3; i++) await manager.transaction((connection) => connection.query('SELECT 1'))
    proxy.delayMillis = 0
    await until(() => manager.stats.inFlight === 0, { what: 'the last reset' })
    trips.push(roundTrips(recording.dialogue()))
    const resets = recording.sent().filter((message) => message.includes('RESET ALL')).length
    assert.equal(resets, reset === 'session' ? 3 : 0)
  }
  assert.equal(trips[1], trips[0])
})

test('a reset goes out before the COMMIT in front of it is answered', { needs: ['wire'] }, async () => {
  await using wire = await openProxied(database, { reset: 'session' })
  const { manager, proxy, recording } = wire
  await manager.query('SELECT')
  const committed = manager.transaction(async (connection) => {
    await connection.query('SELECT 1')
    recording.clear()
    proxy.pause('toServer')
  })
  const next = manager.transaction((connection) => connection.query('SELECT 2'))
  await until(() => recording.sent().some((message) => message.includes('RESET ALL')), { what: 'the reset' })
  await until(() => recording.sent().includes('Parse SELECT 2'), { what: 'the next holder behind it' })
  assert.deepEqual(recording.received(), [])
  proxy.resume()
  await Promise.all([committed, next])
})

test('a holder that sent nothing is followed by no reset', { needs: ['wire'] }, async () => {
  await using wire = await openProxied(database, { reset: 'session' })
  await wire.manager.use(() => {})
  wire.recording.clear()
  await wire.manager.use(async (connection) => void (await connection.commit()))
  assert.deepEqual(wire.recording.sent(), [])
})

test('prepared statements stay, ours and those that the user named', { needs: ['wire'] }, async () => {
  await using wire = await openProxied(database, { reset: 'session' })
  const { manager, recording } = wire
  const run = (): Promise<unknown> =>
    manager.transaction(async (connection) => {
      await connection.query('SELECT 7 AS seven')
      await connection.query({ name: 'mine', text: 'SELECT 8 AS eight' })
    })
  for (let i = 0; i < 3; i++) await run()
  recording.clear()
  await run()
  assert.ok(!recording.sent().some((message) => /^Parse .*SELECT [78]/.test(message)))
})

test('one-shots and batches that are asked for at once see nothing of each other', async () => {
  await using manager = openResetting()
  await manager.query('SELECT 1')
  const mine = "SELECT current_setting('app.mine', true) AS mine"
  const [, second, , fourth] = await Promise.all([
    manager.query("SELECT set_config('app.mine', 'x', false)"),
    manager.query(mine),
    manager.batch(["SELECT set_config('app.mine', 'y', false)"]),
    manager.batch([mine]),
  ])
  assert.ok(!second.rows[0].mine)
  assert.ok(!(fourth[0]!.rows[0] as { mine: string | null }).mine)
})

test(
  'a failed reset drops the connection, and the next holder does not notice',
  { needs: ['wire'] },
  async () => {
    await using wire = await openProxied(database, { reset: 'session' })
    const { manager, proxy } = wire
    await manager.query('SELECT')
    const pid = manager.stats.processID
    proxy.onChunk = (direction, chunk) =>
      direction === 'toServer'
        ? Buffer.from(chunk.toString('latin1').replace('RESET ALL', 'RESET ALX'), 'latin1')
        : chunk
    const first = manager.transaction((connection) => connection.query(`SET work_mem = '1MB'`))
    const second = manager.transaction((connection) =>
      connection.query<{ pid: number; mem: string }>(
        `SELECT pg_backend_pid() AS pid, current_setting('work_mem') AS mem`,
      ),
    )
    const third = manager.query('SELECT 3 AS three')
    await within(first, 'the first')
    proxy.onChunk = null
    const { rows } = await within(second, 'the second')
    assert.notEqual(rows[0]!.pid, pid)
    assert.equal(rows[0]!.mem, '4MB')
    assert.deepEqual((await within(third, 'the third')).rows, [{ three: 3 }])
  },
)

test(
  'a reset that the server refuses is not repeated for ever: each holder is served on a fresh connection',
  { needs: ['wire'] },
  async () => {
    await using wire = await openProxied(database, { reset: 'session' })
    const { manager, proxy } = wire
    proxy.onChunk = (direction, chunk) =>
      direction === 'toServer'
        ? Buffer.from(chunk.toString('latin1').replace('RESET ALL', 'RESET ALX'), 'latin1')
        : chunk
    for (let i = 0; i < 3; i++) {
      const result = await within(
        manager.transaction((connection) => connection.query('SELECT 1 AS one')),
        'a holder',
      )
      assert.deepEqual(result.rows, [{ one: 1 }])
    }
    proxy.onChunk = null
  },
)

test(
  'the connection dies in the middle of a reset: the next holder does not notice',
  { needs: ['wire'] },
  async () => {
    await using wire = await openProxied(database, { reset: 'session' })
    const { manager, proxy } = wire
    await manager.query('SELECT')
    let left = 1
    proxy.onChunk = (direction, chunk, link) => {
      if (direction !== 'toServer' || left === 0 || !chunk.includes('RESET ALL')) return chunk
      left--
      link.cut('reset')
      return null
    }
    await manager.transaction((connection) => connection.query('SELECT 1')).catch(() => {})
    const held = manager.transaction((connection: Connection) => connection.query('SELECT 2 AS two'))
    assert.deepEqual((await within(held, 'the next')).rows, [{ two: 2 }])
  },
)

test('sequences remember nothing of another holder', async () => {
  await using manager = openResetting()
  await leave(manager, `SELECT nextval('numbers')`)
  await assert.rejects(manager.query('SELECT lastval()'), { code: '55000' })
})

test('many holders and one-shots each begin with a clean session', async () => {
  await using manager = openResetting()
  await within(
    Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        i % 2 === 0
          ? manager.transaction(async (connection) => {
              const { rows } = await connection.query(
                `SELECT current_setting('work_mem') AS mem, coalesce(current_setting('app.tenant', true), '') AS tenant`,
              )
              assert.deepEqual(rows, [{ mem: '4MB', tenant: '' }])
              await connection.query(`SET work_mem = '${i + 1}MB'; SET app.tenant = 'number ${i}'`)
            })
          : manager.query(
              `SELECT set_config('work_mem', '99MB', false), set_config('app.tenant', 'shot', false)`,
            ),
      ),
    ),
    'everybody',
  )
  assert.equal(manager.stats.connects, 1)
})
