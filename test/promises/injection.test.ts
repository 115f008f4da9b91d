/** Whatever names and settings hold, they are names and settings to the server, and never a statement. */
import assert from 'node:assert/strict'
import { ConninfoError } from 'pg-managed-connection'
import type {
  ManagedConnectionOptions,
  Notification,
  Subscription,
  TransactionOptions,
} from 'pg-managed-connection'
import { caught, reason } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { openProxied } from '../support/proxied.js'
import { openSuite } from '../support/suite.js'
import { within } from '../support/wait.js'

const { test, database } = await openSuite()
await database.admin.query('CREATE TABLE canary (id int)')

/** What ends a name, a string or a statement where it is not quoted as it should be. */
const NASTY: readonly string[] = [
  `x"; DROP TABLE canary; --`,
  `x'; DROP TABLE canary; --`,
  `\\'; DROP TABLE canary; --`,
  `x\\"; DROP TABLE canary; --`,
  `$$; DROP TABLE canary; $$`,
  `/* "; DROP TABLE canary; */`,
  `x\n; DROP TABLE canary\n;`,
  `"`,
  `""`,
  `'`,
  `\\`,
  ` `,
  `%s $1 :a ?`,
  'ünï – 名前 🐘',
]

function next(subscription: Subscription): Promise<IteratorResult<Notification>> {
  return subscription[Symbol.asyncIterator]().next()
}

/** The table is still there, on a manager that still works. */
async function isUnharmed(manager: ManagedConnection): Promise<void> {
  const { rows } = await manager.query<{ there: boolean }>(
    `SELECT pg_catalog.to_regclass('public.canary') IS NOT NULL AS there`,
  )
  assert.deepEqual(rows, [{ there: true }])
}

for (const conforming of ['on', 'off']) {
  test(`a channel is a name, whatever it holds (standard_conforming_strings = ${conforming})`, async () => {
    await using manager = new ManagedConnection(database.conninfo, {
      onConnect: async (client) =>
        void (await client.query(`SET standard_conforming_strings = ${conforming}`)),
    })
    for (const name of [...NASTY, 'a'.repeat(63), 'é'.repeat(31)]) {
      await using subscription = await manager.listen(name)
      const { rows } = await manager.query('SELECT * FROM pg_listening_channels() AS name')
      assert.deepEqual(rows, [{ name }])
      await manager.query('SELECT pg_notify($1, $2)', [name, 'payload'])
      const { value } = await within(next(subscription), 'the notification')
      assert.deepEqual([value.channel, value.payload], [name, 'payload'])
    }
    await isUnharmed(manager)
  })
}

test('channels are listened to again on a new connection, in one text, each a name', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const subscriptions = await Promise.all(NASTY.map((name) => manager.listen(name)))
  await database.admin.terminate(manager.stats.processID!)
  for (const subscription of subscriptions) {
    assert.deepEqual(await within(next(subscription), 'the gap'), {
      done: false,
      value: { type: 'gap', channel: subscription.channel },
    })
  }
  const { rows } = await manager.query<{ name: string }>('SELECT * FROM pg_listening_channels() AS name')
  assert.deepEqual(rows.map(({ name }) => name).sort(), [...NASTY].sort())
  await isUnharmed(manager)
  for (const subscription of subscriptions) await subscription[Symbol.asyncDispose]()
})

/** What is no channel, no mode and no name. Each gives a text that would do harm, if it were asked twice. */
const NO_STRINGS: readonly unknown[] = [
  null,
  0,
  true,
  {},
  [],
  ['read only; DROP TABLE canary'],
  Symbol('serializable'),
  () => 'serializable',
  Object.create(null),
  changing('serializable', 'serializable; DROP TABLE canary'),
]

/** Says one thing when it is first asked, and another from then on. */
function changing(first: string, then: string): { toString(): string; toLowerCase(): string } {
  let asked = 0
  const say = (): string => (asked++ === 0 ? first : then)
  return { toString: say, toLowerCase: say }
}

test('a channel that is no name of 1 to 63 bytes is refused', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (const name of [
    ...NO_STRINGS,
    'a'.repeat(64),
    'é'.repeat(32),
    '',
    '\0',
    'a\0"; DROP TABLE canary; --',
  ]) {
    await caught(manager.listen(name as string), TypeError)
  }
})

test('the modes of a transaction are words of SQL, or refused with nothing sent', async () => {
  await using wire = await openProxied(database)
  const { manager, recording } = wire
  await isUnharmed(manager)
  const before = recording.sent().length
  const texts = NASTY.flatMap((text) => [text, `serializable${text}`, `read only${text}`])
  for (const mode of ['isolationLevel', 'accessMode', 'deferrable'] as const) {
    for (const value of [...texts, ...NO_STRINGS]) {
      if (mode === 'deferrable' && typeof value === 'boolean') continue
      const options = { [mode]: value } as TransactionOptions
      await caught(
        manager.transaction(() => {}, options),
        TypeError,
      )
      await caught(manager.batch(['SELECT 1'], options), TypeError)
    }
  }
  assert.equal(recording.sent().length, before)
})

test('a setting in the connection string is one value, in every form', async () => {
  const { host, port, user, password } = database.login
  for (const name of NASTY.filter((text) => /^[ -~]+$/.test(text) && text.length < 60)) {
    const asList = Object.entries({
      host,
      port,
      user,
      password: password ?? '',
      dbname: database.name,
      application_name: name,
    })
      .map(([keyword, value]) => `${keyword}='${String(value).replace(/[\\']/g, '\\$&')}'`)
      .join(' ')
    const { conninfo: given } = database
    const uri = `${given}${given.includes('?') ? '&' : '?'}application_name=${encodeURIComponent(name)}`
    for (const conninfo of [asList, uri, { connectionString: database.conninfo, application_name: name }]) {
      await using manager = new ManagedConnection(conninfo)
      const { rows } = await manager.query(`SELECT current_setting('application_name') AS name`)
      assert.deepEqual(rows, [{ name }])
      await isUnharmed(manager)
    }
  }
})

test('options in the connection string set what they name, and nothing runs', async () => {
  for (const value of [`a; DROP TABLE canary`, `a'; DROP TABLE canary; --`, `a"b`, `$$`]) {
    const options = `-c application_name=${value.replace(/[ \\]/g, '\\$&')}`
    await using manager = new ManagedConnection({ connectionString: database.conninfo, options })
    const { rows } = await manager.query(`SELECT current_setting('application_name') AS name`)
    assert.deepEqual(rows, [{ name: value }])
    await isUnharmed(manager)
  }
})

test('a value of the connection string cannot end with NUL and go on as the next one', async () => {
  for (const keyword of ['application_name', 'options', 'user', 'dbname', 'client_encoding'] as const) {
    const value = 'x\0search_path\0pg_temp'
    const open = async (): Promise<unknown> => {
      await using manager = new ManagedConnection({ connectionString: database.conninfo, [keyword]: value })
      return await manager.query('SELECT 1')
    }
    await caught(open(), ConninfoError)
  }
})

test('the name and the text of a statement are what they are', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async (connection) => {
    for (const name of [...NASTY, 'n'.repeat(1_000)]) {
      // PostgreSQL knows them by all of their bytes.
      for (const value of [1, 2]) {
        const { rows } = await connection.query({ name, text: 'SELECT $1::int AS a', values: [value] })
        assert.deepEqual(rows, [{ a: value }])
      }
    }
    await connection.rollback()
  })
  for (const query of [
    { text: 'SELECT 1\0; DROP TABLE canary' },
    { name: 'a\0DROP TABLE canary', text: 'SELECT 1' },
    { name: 'a\0', text: 'SELECT 1' },
  ]) {
    assert.ok((await reason(manager.query(query))) instanceof Error)
    assert.ok((await reason(manager.batch([query, 'SELECT 1']))) instanceof Error)
  }
  await isUnharmed(manager)
})

test('values are values, also where a backslash escapes', async () => {
  await using manager = new ManagedConnection(database.conninfo, {
    onConnect: async (client) => void (await client.query('SET standard_conforming_strings = off')),
  })
  for (const value of NASTY) {
    const { rows } = await manager.query('SELECT $1::text AS a', [value])
    assert.deepEqual(rows, [{ a: value }])
  }
  // The second half is not a statement of its own, and is not taken for one that ends the transaction.
  const { rows } = await manager.query(String.raw`SELECT 'a\'; COMMIT; --' AS a`)
  assert.deepEqual(rows, [{ a: `a'; COMMIT; --` }])
  await isUnharmed(manager)
})

test('savepoints have names that no text of a user’s can mean, however deep and whoever looks', async () => {
  await using wire = await openProxied(database)
  await wire.manager.transaction(async (connection) => {
    await connection.query('SELECT 1')
    await connection.transaction(async (inner) => {
      await inner.query('SELECT 2')
      await reason(inner.transaction(() => Promise.reject(new Error('"; DROP TABLE canary'))))
    })
  })
  const texts = wire.recording.sent().map((message) => JSON.stringify(message))
  const named = texts.filter((text) => text.includes('SAVEPOINT'))
  assert.ok(named.length >= 3, texts.join('\n'))
  for (const text of named) assert.match(text, /SAVEPOINT pgmc_[0-9a-f]{12}_\d+(?:\\u0000)?"/, text)
})

/** What a user of the test may be called, and what one may set. */
const ROLE = `nasty "role"; DROP TABLE canary; --'\\`

for (const conforming of ['on', 'off']) {
  test(`a reset brings nasty settings back as they were (standard_conforming_strings = ${conforming})`, async () => {
    const quoted = `"${ROLE.replaceAll('"', '""')}"`
    await database.admin.query(`CREATE ROLE ${quoted}`)
    await database.admin.query(`GRANT SELECT ON canary TO ${quoted}`)
    try {
      const options: ManagedConnectionOptions = {
        reset: 'session',
        onConnect: async (client) => {
          await client.query(`SET standard_conforming_strings = ${conforming}`)
          await client.query(`SELECT set_config('app.nasty', $1, false)`, [NASTY.join('')])
          await client.query(`SELECT set_config('search_path', $1, false)`, [`"a'b", "c""d; --", public`])
          await client.query(`SELECT set_config('application_name', $1, false)`, [
            `'; DROP TABLE canary; --\\`,
          ])
          await client.query(`SET ROLE ${quoted}`)
        },
      }
      await using manager = new ManagedConnection(database.conninfo, options)
      const read = async (): Promise<unknown> => {
        const { rows } = await manager.query(
          `SELECT current_user::text AS who, current_setting('app.nasty') AS nasty, current_setting('search_path') AS path,
             current_setting('application_name') AS name, current_setting('standard_conforming_strings') AS conforming`,
        )
        return rows
      }
      const first = await read()
      assert.deepEqual(first, [
        {
          who: ROLE,
          nasty: NASTY.join(''),
          path: `"a'b", "c""d; --", public`,
          name: `'; DROP TABLE canary; --\\`,
          conforming,
        },
      ])
      const { processID, disconnects } = manager.stats
      await manager.transaction(async (connection) => {
        await connection.query('RESET ROLE')
        await connection.query(`SELECT set_config('app.nasty', 'x', false), set_config('search_path', 'x', false),
          set_config('application_name', 'x', false)`)
        await connection.query(`SET standard_conforming_strings = ${conforming === 'on' ? 'off' : 'on'}`)
      })
      assert.deepEqual(await read(), first)
      // By the reset, and not by a new connection.
      assert.deepEqual([manager.stats.processID, manager.stats.disconnects], [processID, disconnects])
      await isUnharmed(manager)
    } finally {
      await database.admin.query(`DROP OWNED BY ${quoted}; DROP ROLE ${quoted}`)
    }
  })
}
