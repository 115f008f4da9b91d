/** Settings and roles of turns: they hold for every statement of theirs, and for nobody else's. */
import assert from 'node:assert/strict'
import { Query } from 'pg'
import {
  AcquireTimeoutError,
  CommitRolledBackError,
  createReceiptTable,
  TransactionOrderError,
  UncommittedTransactionError,
  type Connection,
  type Manager,
} from 'pg-managed-connection'
import { asPool } from 'pg-managed-connection/pool'
import { caught, outcome, reason } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { openConnected } from '../support/proxied.js'
import { Random } from '../support/random.js'
import { openSuite } from '../support/suite.js'
import { until } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database

/** The roles are the server's and not the database's alone. */
const WEB = `web_${process.pid}_${Date.now() % 100_000}`
const REFUSED_ROLE = `${WEB}_nobody`
const TENANT = 'app.tenant'

await admin.query(`
  CREATE TABLE notes (tenant int, note text);
  INSERT INTO notes SELECT n % 20, 'note ' || n FROM generate_series(1, 200) AS n;
  ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
  CREATE POLICY own ON notes USING (tenant = current_setting('${TENANT}')::int);
  CREATE SCHEMA red; CREATE TABLE red.thing AS SELECT 1 AS value;
  CREATE SCHEMA "Blue, and green"; CREATE TABLE "Blue, and green".thing AS SELECT 'text' AS value`)

/** With the role that the policies hold for, which goes again. */
async function withRole<T>(work: () => Promise<T>): Promise<T> {
  await admin.query(`CREATE ROLE "${WEB}"; GRANT ALL ON notes TO "${WEB}"; CREATE ROLE "${REFUSED_ROLE}"`)
  try {
    return await work()
  } finally {
    await admin.query(`DROP OWNED BY "${WEB}"; DROP ROLE "${WEB}"; DROP ROLE "${REFUSED_ROLE}"`)
  }
}

const SHOWN = "SELECT coalesce(current_setting('app.a', true), '') AS a, current_setting('work_mem') AS mem"
const GIVEN = { settings: { 'app.a': 'mine', work_mem: '7MB' } } as const
const SET = { a: 'mine', mem: '7MB' }
const UNSET = { a: '', mem: '4MB' }

/** What each verb sees with these options. */
const VERBS: Readonly<Record<string, (manager: Manager, options: object, text: string) => Promise<unknown>>> =
  {
    query: async (manager, options, text) => (await manager.query({ text, ...options })).rows[0],
    batch: async (manager, options, text) => (await manager.batch([text, 'SELECT 1'], options))[0].rows[0],
    use: (manager, options, text) =>
      manager.use(async (connection) => {
        const { rows } = await connection.query(text)
        await connection.commit()
        return rows[0]
      }, options),
    acquire: async (manager, options, text) => {
      const connection = await manager.acquire(options)
      try {
        return (await connection.query(text)).rows[0]
      } finally {
        await connection.rollback()
        await connection.release()
      }
    },
    tryAcquire: async (manager, options, text) => {
      await using connection = await manager.tryAcquire({ ...options, autocommit: true })
      return (await connection!.query(text)).rows[0]
    },
    transaction: (manager, options, text) =>
      manager.transaction(async (connection) => (await connection.query(text)).rows[0], options),
  }

for (const [verb, see] of Object.entries(VERBS)) {
  test(
    `${verb}() has the settings that it asks for, and whoever comes next has not`,
    { needs: ['defaults'] },
    async () => {
      await using manager = new ManagedConnection(database.conninfo)
      for (let time = 0; time < 3; time++) {
        assert.deepEqual(await see(manager, GIVEN, SHOWN), SET)
        assert.deepEqual(await see(manager, {}, SHOWN), UNSET)
      }
    },
  )

  test(
    `${verb}(): whoever may not set it, or has misspelt it, is told so, and the connection is as good as before`,
    { needs: ['users'] },
    async () => {
      await withRole(async () => {
        await using manager = new ManagedConnection(database.conninfo)
        const code = async (options: object): Promise<unknown> =>
          ((await reason(see(manager, options, 'SELECT 1'))) as { code?: unknown }).code
        const opened = await manager.query('SELECT pg_backend_pid() AS pid')
        assert.equal(await code({ settings: { nosuch: 1 } }), '42704')
        assert.equal(await code({ settings: { work_mem: 'much' } }), '22023')
        assert.equal(await code({ role: 'nosuch' }), '22023')
        await using other = new ManagedConnection(database.conninfo, {
          onConnect: (client) => client.query(`SET SESSION AUTHORIZATION "${REFUSED_ROLE}"`),
        })
        const refused = (await reason(see(other, { role: WEB }, 'SELECT 1'))) as { code?: unknown }
        assert.equal(refused.code, '42501')
        assert.deepEqual((await manager.query('SELECT pg_backend_pid() AS pid')).rows, opened.rows)
      })
    },
  )
}

/** The commands that a recording has of Parse, in order. */
function parsed(sent: readonly string[]): string[] {
  return sent.filter((line) => line.startsWith('Parse ')).map((line) => line.slice('Parse '.length))
}

test(
  'they travel with BEGIN and the first statement in one write, as SET LOCAL with quoted name and literal',
  { needs: ['wire', 'users'] },
  async () => {
    await using wire = await openConnected(database)
    await wire.manager.transaction((connection) => connection.query('SELECT 2'), {
      settings: { 'app.Tenant': "it's\\a", search_path: 'a, "B ""c"', work_mem: 4096, enable_sort: false },
      role: 'none',
    })
    const [first, ...others] = wire.recording.sentTogether()
    assert.deepEqual(parsed(first!), [
      'BEGIN',
      `SET LOCAL "app"."tenant" TO E'it''s\\\\a'`,
      `SET LOCAL "search_path" TO 'a', 'B "c'`,
      `SET LOCAL "work_mem" TO '4096'`,
      `SET LOCAL "enable_sort" TO 'false'`,
      `SET LOCAL ROLE 'none'`,
      'SELECT 2',
    ])
    assert.deepEqual(first!.filter((line) => line === 'Sync').length, 1)
    assert.deepEqual(others, [['Query COMMIT']])
  },
)

test(
  'a one-shot with settings is one transaction in one write, and goes along with its neighbours',
  { needs: ['wire'] },
  async () => {
    await using wire = await openConnected(database)
    const ask = (n: number) => wire.manager.query({ text: `SELECT ${n}`, settings: { [TENANT]: n } })
    await ask(0)
    wire.recording.clear()
    await Promise.all([ask(1), ask(2), ask(3), wire.manager.query('SELECT 4')])
    const pieces = wire.recording.sentTogether()
    assert.deepEqual(
      pieces.map((piece) => piece.filter((line) => line === 'Sync').length),
      [4],
    )
    assert.deepEqual(
      parsed(pieces.flat()).filter((text) => !text.includes('set_config')),
      ['SELECT 1', 'SELECT 2', 'SELECT 3', 'SELECT 4'],
    )
  },
)

test('isolation levels and access modes may be given as well, for the settings take no snapshot', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const text = "SELECT current_setting('transaction_isolation') AS level, current_setting('app.a') AS a"
  const rows = await manager.transaction(async (connection) => (await connection.query(text)).rows, {
    ...GIVEN,
    isolationLevel: 'serializable',
    accessMode: 'read only',
    deferrable: true,
  })
  assert.deepEqual(rows, [{ level: 'serializable', a: 'mine' }])
  const own = await manager.use(
    async (connection) => {
      await connection.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
      const seen = await connection.query(text)
      await connection.query('COMMIT')
      return seen.rows
    },
    { ...GIVEN, autocommit: true },
  )
  assert.deepEqual(own, [{ level: 'repeatable read', a: 'mine' }])
})

const SEES = async (connection: { query(text: string): Promise<{ rows: unknown[] }> }): Promise<unknown> =>
  (await connection.query(SHOWN)).rows[0]

test(
  'behind a BEGIN of the holder’s they hold, too; and in the next transaction, and between them',
  { needs: ['defaults'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    for (const autocommit of [false, true]) {
      await manager.use(
        async (connection) => {
          for (const begin of ['BEGIN', 'START TRANSACTION READ ONLY', 'BEGIN; -- and no more']) {
            const answer = await connection.query(begin)
            assert.equal(Array.isArray(answer), false, begin)
            assert.equal((answer as { command: string }).command.split(' ')[0], begin.split(/\W/)[0])
            assert.deepEqual(await SEES(connection), SET, begin)
            await connection.query('SAVEPOINT one')
            await connection.query('ROLLBACK TO one')
            assert.deepEqual(await SEES(connection), SET, begin)
            await connection.query('COMMIT')
          }
          assert.deepEqual(await SEES(connection), SET, 'between')
          await connection.rollback()
          await connection.transaction(async (nested) => assert.deepEqual(await SEES(nested), SET))
        },
        { ...GIVEN, autocommit },
      )
    }
    assert.deepEqual(await SEES(manager), UNSET)
  },
)

test('a setting that is refused behind a BEGIN of the holder’s is its error', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(
    async (connection) => {
      const refused = (await reason(connection.query('BEGIN'))) as { code?: unknown }
      assert.equal(refused.code, '42704')
      assert.equal(connection.status, 'inerror')
      await connection.query('ROLLBACK')
      assert.equal(((await reason(connection.query('SELECT 1'))) as { code?: unknown }).code, '42704')
      assert.equal(connection.status, 'idle')
    },
    { autocommit: true, settings: { nosuch: 1 } },
  )
})

test('what may go on behind a COMMIT is refused, before it is sent', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const texts = [
    'COMMIT AND CHAIN',
    'ROLLBACK WORK AND CHAIN',
    'COMMIT; SELECT 1',
    'BEGIN; SELECT 1',
    'SELECT 1; ROLLBACK',
    'COMMIT /* ; */ ; SELECT 1',
  ]
  for (const autocommit of [false, true]) {
    await manager.use(
      async (connection) => {
        await connection.query('BEGIN')
        for (const text of texts) {
          await caught(connection.query(text), TransactionOrderError)
          assert.deepEqual(await SEES(connection), { ...SET, mem: SET.mem })
        }
        await connection.query('COMMIT AND NO CHAIN')
      },
      { ...GIVEN, autocommit },
    )
  }
  for (const text of texts) await caught(manager.query({ text, ...GIVEN }), TransactionOrderError)
  await caught(manager.query({ text: 'BEGIN', ...GIVEN }), UncommittedTransactionError)
})

test('without a transaction, what may commit in between is refused', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query(`CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$`)
  await manager.use(
    async (connection) => {
      for (const text of ['CALL commits()', 'DO $$ BEGIN COMMIT; END $$', 'SELECT 1; SELECT 2']) {
        await caught(connection.query(text), TransactionOrderError)
      }
      await connection.query('CREATE TABLE made (id int)')
      await connection.query('DROP TABLE made')
      // In a transaction the server refuses it, and it can do no harm.
      await connection.query('BEGIN')
      assert.equal(((await reason(connection.query('CALL commits()'))) as { code?: unknown }).code, '2D000')
      await connection.query('ROLLBACK')
    },
    { ...GIVEN, autocommit: true },
  )
})

test(
  'a one-shot of any kind has them, and one that may commit in between is a transaction all the same',
  { needs: ['defaults'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const results = (await manager.query({ text: `${SHOWN}; SELECT 2 AS two`, ...GIVEN })) as unknown as {
      rows: unknown[]
    }[]
    assert.deepEqual(
      results.map(({ rows }) => rows),
      [[SET], [{ two: 2 }]],
    )
    const refused = await reason(manager.query({ text: 'DO $$ BEGIN COMMIT; END $$', ...GIVEN }))
    assert.equal((refused as { code?: unknown }).code, '2D000')
    assert.equal(
      ((await reason(manager.query({ text: 'VACUUM', ...GIVEN }))) as { code?: unknown }).code,
      '25001',
    )
    await manager.query({
      text: "DO $$ BEGIN PERFORM set_config('app.b', current_setting('app.a'), false); END $$",
      ...GIVEN,
    })
    const { rows } = await manager.query("SELECT current_setting('app.b') AS b")
    assert.deepEqual(rows, [{ b: 'mine' }])
  },
)

test('what a text means is what it means under the settings of its turn', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const red = manager.with({ settings: { search_path: 'red' } })
  const blue = manager.with({ settings: { search_path: '"Blue, and green", red' } })
  const values: unknown[] = []
  for (let time = 0; time < 4; time++) {
    const asked = [red, blue, red].map((tenant) => tenant.query('SELECT value FROM thing'))
    values.push(...(await Promise.all(asked)).map(({ rows }) => rows[0].value))
    const turns = [red, blue].map((tenant) =>
      tenant.transaction((connection) => connection.query('SELECT value FROM thing')),
    )
    values.push(...(await Promise.all(turns)).map(({ rows }) => rows[0].value))
  }
  assert.deepEqual(values, Array.from({ length: 4 }, () => [1, 'text', 1, 1, 'text']).flat())
})

test(
  'how a value is read is as the settings of its turn say, and no other turn’s',
  { needs: ['defaults'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const TEXT = "SELECT '2026-02-01'::timestamptz::text AS time, $1::text AS given"
    const ask = (zone: string) =>
      manager.query({ text: TEXT, values: [zone], settings: { TimeZone: zone, DateStyle: 'SQL, DMY' } })
    for (let time = 0; time < 3; time++) {
      const zones = ['Asia/Tokyo', 'America/New_York', 'UTC']
      const plain = manager.query(TEXT, ['plain'])
      const answers = await Promise.all(zones.map(ask))
      assert.deepEqual(
        answers.map(({ rows }) => rows[0].time),
        ['01/02/2026 00:00:00 JST', '01/02/2026 00:00:00 EST', '01/02/2026 00:00:00 UTC'],
      )
      assert.match((await plain).rows[0].time, /^2026-02-01/)
    }
  },
)

const HOSTILE = [
  "'",
  "''",
  "\\'",
  '\\',
  "'; DROP TABLE notes; --",
  "\\'; DROP TABLE notes; --",
  '$1',
  "E'x'",
  '\u{1f600}',
  '%s',
  ' ',
  '',
  'a\nb',
  "a''b\\\\'",
  '"',
  'x"; RESET ROLE; --',
  '\u2019',
  "U&'\\0041'",
] as const

test('no value, name or role becomes SQL', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const random = new Random(Date.now() % 2 ** 31)
  for (const strings of ['on', 'off']) {
    await using other = new ManagedConnection(database.conninfo, {
      onConnect: (client) => client.query(`SET standard_conforming_strings = ${strings}`),
    })
    for (let n = 0; n < 60; n++) {
      const value =
        n < HOSTILE.length ? HOSTILE[n]! : Array.from({ length: 5 }, () => random.pick(HOSTILE)).join('')
      const see = async (connection: Pick<Manager, 'query'>) =>
        (await connection.query("SELECT current_setting('app.a') AS a")).rows
      const settings = { 'app.a': value }
      assert.deepEqual(await other.transaction(see, { settings }), [{ a: value }])
      assert.deepEqual((await other.query({ text: "SELECT current_setting('app.a') AS a", settings })).rows, [
        { a: value },
      ])
      const role = (await reason(
        other.transaction((connection) => connection.query('SELECT 1'), { role: value || ' ' }),
      )) as { code: string }
      assert.match(role.code, /^(?:22023|42704)$/)
      const odd = { [`app.${value || 'x y'}`]: 1 }
      const named = await outcome(
        other.transaction((connection) => connection.query('SELECT 1'), { settings: odd }),
      )
      // Some of them are names.
      if (named.status === 'rejected')
        assert.match(String((named.reason as { code?: unknown }).code ?? named.reason), /42602|TypeError/)
    }
  }
  assert.equal((await manager.query('SELECT count(*)::int AS n FROM notes')).rows[0].n, 200)
})

test('what cannot be a setting or a role is refused at once, with its name', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const wrong: [object, RegExp][] = [
    [{ settings: { role: 'x' } }, /settings must not have "role": give it as role/],
    [{ settings: { Session_Authorization: 'x' } }, /settings must not have "Session_Authorization"/],
    [{ settings: { transaction_isolation: 'serializable' } }, /must not have "transaction_isolation"/],
    [{ settings: { transaction_read_only: true } }, /must not have "transaction_read_only"/],
    [{ settings: { 'app.a': null } }, /"app\.a" as a string, a number or a boolean, but it is null/],
    [{ settings: { 'app.a': undefined } }, /but it is undefined/],
    [{ settings: { 'app.a': {} } }, /but it is \[object Object\]/],
    [{ settings: { 'app.a': NaN } }, /but it is NaN/],
    [{ settings: { 'app.a': 'a\0b' } }, /"app\.a"/],
    [{ settings: { 'app.a': 1, 'APP.A': 2 } }, /"APP\.A" twice/],
    [{ settings: { '': 1 } }, /"", which is no name/],
    [{ settings: { 'app.': 1 } }, /"app\.", which is no name/],
    [{ settings: { search_path: 'a b' } }, /"search_path", whose value is no list of names: 'a b'/],
    [{ settings: { search_path: 'a,' } }, /no list of names/],
    [{ settings: [] }, /settings must be an object/],
    [{ settings: 'app.a=1' }, /settings must be an object/],
    [{ role: '' }, /role must be the name of a role/],
    [{ role: null }, /role must be the name of a role, but is null/],
    [{ settings: { synchronous_commit: 'off' }, groupCommit: true }, /groupCommit sets synchronous_commit/],
  ]
  for (const [options, message] of wrong) {
    const { groupCommit, ...others } = options as { groupCommit?: boolean }
    const calls = [manager.transaction(() => {}, options), manager.batch(['SELECT 1'], options)]
    if (groupCommit === undefined) {
      calls.push(
        manager.use(() => {}, others),
        manager.query({ text: 'SELECT 1', ...others }) as never,
      )
      calls.push(manager.acquire(others) as never, manager.tryAcquire(others) as never)
      assert.throws(() => manager.with(others), { name: 'TypeError', message })
    } else {
      const grouped = manager.with({ groupCommit })
      calls.push(
        grouped.transaction(() => {}, others),
        grouped.batch(['SELECT 1'], others),
      )
      calls.push(manager.with(others).transaction(() => {}, { groupCommit }))
    }
    for (const call of calls) {
      const error = await caught(call, TypeError)
      assert.match(error.message, message)
    }
  }
  assert.equal(manager.closed, true)
  assert.throws(
    () => manager.with({ lable: 'x' } as never),
    /with\(\) has no option "lable"; did you mean "label"\?/,
  )
  await manager.use(async (connection) => {
    await caught(connection.query({ text: 'SELECT 1', role: 'x' }), TypeError)
    await caught(
      (connection.transaction as (...all: unknown[]) => Promise<unknown>)(() => {}, GIVEN),
      TypeError,
    )
  })
  await caught(manager.batch([{ text: 'SELECT 1', ...GIVEN }]), TypeError)
})

test(
  'with() gives calls something in common; what a call says itself comes first',
  { needs: ['defaults'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const mine = manager.with(GIVEN)
    for (const see of Object.values(VERBS)) assert.deepEqual(await see(mine, {}, SHOWN), SET)
    assert.deepEqual(await VERBS['transaction']!(mine, { settings: { 'APP.a': 'own' } }, SHOWN), {
      ...SET,
      a: 'own',
    })
    const inner = mine.with({ settings: { work_mem: '9MB' }, label: 'inner' })
    for (const see of Object.values(VERBS))
      assert.deepEqual(await see(inner, {}, SHOWN), { ...SET, mem: '9MB' })
    for (const see of Object.values(VERBS)) assert.deepEqual(await see(manager, {}, SHOWN), UNSET)
    assert.equal(manager.stats.connects, 1)
    assert.equal(mine.status, 'idle')
    assert.equal(String(mine), String(manager))
  },
)

test('with({ label }) names all its calls, with({ autocommit }) its turns', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const named = manager.with({ label: 'report', autocommit: true })
  await named.use(async (connection) => {
    assert.equal(manager.stats.holderLabel, 'report')
    assert.equal(connection.autocommit, true)
    const late = await caught(
      named.batch(['SELECT 1'], { timeoutMillis: 5, detached: true }),
      AcquireTimeoutError,
    )
    assert.equal(late.label, 'report')
    const own = await caught(
      named.acquire({ timeoutMillis: 5, detached: true, label: 'own' }),
      AcquireTimeoutError,
    )
    assert.deepEqual([own.label, own.holderLabel], ['own', 'report'])
  })
})

test('a manager made by with() is the same line: it is known inside of a callback, and its end is the connection’s', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const one = manager.with({ label: 'one' })
  const two = one.with({ label: 'two' })
  await one.use(async () => {
    for (const asked of [manager, one, two]) {
      const error = (await reason(asked.query('SELECT 1'))) as { code?: unknown }
      assert.equal(error.code, 'ERR_REENTRANT_ACQUIRE')
    }
  })
  await two.end()
  assert.equal(((await reason(manager.query('SELECT 1'))) as { code?: unknown }).code, 'ERR_MANAGER_ENDED')
})

test('its events are those of the connection', { needs: ['own thread'] }, async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const one = manager.with({ label: 'one' }) as ManagedConnection
  let told = 0
  assert.equal(
    one.once('connect', () => told++),
    one,
  )
  await manager.query('SELECT 1')
  assert.equal(told, 1)
  const listener = (): void => {}
  one.on('rollback', listener)
  assert.deepEqual(manager.listeners('rollback'), [listener])
  one.off('rollback', listener)
  assert.equal(manager.listenerCount('rollback'), 0)
})

const CALLS = Number(process.env['SETTINGS_CALLS'] || 2_000)

test('tenants never see each other’s rows, however their calls are mixed', { needs: ['users'] }, async () => {
  await withRole(async () => {
    await using manager = new ManagedConnection(database.conninfo, { acquireTimeoutMillis: 60_000 })
    const seed = Number(process.env['SETTINGS_SEED'] || Date.now() % 2 ** 31)
    const random = new Random(seed)
    const text = 'SELECT tenant, current_user AS role FROM notes'
    const wrong: string[] = []
    let seen = 0
    const verbs = Object.entries(VERBS).filter(([verb]) => verb !== 'tryAcquire')
    const call = async (): Promise<void> => {
      const tenant = random.below(20)
      const options = { settings: { [TENANT]: tenant }, role: WEB }
      const asker: Manager = random.chance(0.5) ? manager.with(options) : manager
      const own = asker === manager ? options : {}
      const [verb, see] = random.pick(verbs)
      const dice = random.below(10)
      if (dice === 0) return void (await reason(see(asker, own, 'SELECT 1 / 0')))
      if (dice === 1) return void (await see(manager, {}, 'SELECT 1'))
      if (dice === 2)
        return void (await reason(see(manager, { settings: { [TENANT]: 'x' }, role: WEB }, text)))
      const rows: { tenant: number; role: string }[] = []
      if (verb === 'query' && random.chance(0.5)) rows.push(...(await asker.query({ text, ...own })).rows)
      else rows.push((await see(asker, own, text)) as { tenant: number; role: string })
      seen += rows.length
      for (const row of rows)
        if (row.tenant !== tenant || row.role !== WEB)
          wrong.push(`${verb}: ${tenant} saw ${row.tenant} as ${row.role}`)
    }
    for (let left = CALLS; left > 0; left -= 100) await Promise.all(Array.from({ length: 100 }, call))
    assert.deepEqual(wrong, [], `SETTINGS_SEED=${seed}`)
    assert.ok(seen > CALLS / 3)
  })
})

test(
  'a BEGIN that a submittable sends is refused, for nothing can be set behind it',
  { needs: ['own thread'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const begin = (connection: Connection): Promise<unknown> =>
      new Promise((resolve, reject) => {
        connection.query(new Query('BEGIN', (error?: Error) => (error ? reject(error) : resolve(null))))
      })
    for (const autocommit of [false, true]) {
      await manager.use(
        async (connection) => {
          await caught(begin(connection), TransactionOrderError)
          assert.deepEqual(await SEES(connection), SET)
          await connection.rollback()
          await connection.query('BEGIN')
          await begin(connection)
          assert.deepEqual(await SEES(connection), SET, 'inside a transaction it does nothing')
          await connection.query('COMMIT')
        },
        { ...GIVEN, autocommit },
      )
    }
  },
)

test('settings that would be left out, cut or misread are a mistake', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const ask = (settings: object): Promise<unknown> =>
    see(manager, { settings: settings as Record<string, string> }, SHOWN)
  const see = VERBS['transaction']!
  await caught(ask(new Map([['app.a', 'mine']])), TypeError)
  await caught(ask({ [`app.${'a'.repeat(64)}`]: 1 }), TypeError)
  await caught(ask({ [`app.${'é'.repeat(32)}`]: 1 }), TypeError)
  await ask({ [`app.${'a'.repeat(63)}`]: 1 })
  assert.deepEqual(await ask(Object.create({ 'app.a': 'mine', work_mem: '7MB' }) as object), SET)
  for (const name of ['constructor', '__proto__']) {
    const refused = (await reason(ask({ [name]: 1 }))) as { code?: unknown }
    assert.equal(refused.code, '42704', name)
  }
})

test('a receipt that the role may not leave is told as what it is', { needs: ['users'] }, async () => {
  await withRole(async () => {
    await using manager = new ManagedConnection(database.conninfo)
    await createReceiptTable(manager, 'receipts')
    for (const groupCommit of [false, true]) {
      const tenant = manager.with({ role: WEB, groupCommit, verifyCommit: { table: 'receipts' } })
      const turns = [
        tenant.transaction((connection) => connection.query('SELECT 1')),
        tenant.batch(['SELECT 1']),
      ]
      for (const turn of turns) {
        const refused = (await reason(turn)) as { code?: unknown; hint?: string }
        assert.equal(refused.code, '42501')
        assert.match(refused.hint ?? '', /createReceiptTable/)
      }
      const failed = await reason(
        tenant.transaction((connection) => connection.query('SELECT 1/0').catch(() => {})),
      )
      assert.ok(failed instanceof CommitRolledBackError, 'what has failed before it is told instead')
    }
  })
})

test('a client of a pool with settings hears what it listens to', { needs: ['own thread'] }, async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const client = await asPool(manager.with(GIVEN)).connect()
  try {
    const heard: unknown[] = []
    client.on('notification', ({ payload }) => heard.push(payload))
    await client.query('LISTEN here')
    await client.query("SELECT pg_notify('here', 'hello')")
    await until(() => heard.length > 0, { what: 'the notification' })
    assert.deepEqual(heard, ['hello'])
    await client.query('UNLISTEN here')
  } finally {
    client.release()
  }
})
