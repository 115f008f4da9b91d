/** Statements that the library prepares by their text, and those that users name: neither is ever seen in a result. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from 'pg-managed-connection'
import { reason as rejectionOf } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { openSuite } from '../support/suite.js'

const { test, database } = await openSuite()
const { admin } = database

/** The documented second, made short. */
const LIFETIME_MILLIS = 60

function open(options: ConstructorParameters<typeof ManagedConnection>[1] = {}): ManagedConnection {
  return new ManagedConnection(database.conninfo, options)
}

/** Runs a text until it is prepared. */
async function prepare(manager: ManagedConnection, text: string, values: unknown[] = []): Promise<void> {
  for (let time = 0; time < 3; time++) await manager.query(text, values)
}

async function firstValue(manager: ManagedConnection | Connection, text: string): Promise<unknown> {
  const { rows } = await manager.query({ text, rowMode: 'array' })
  return rows[0]?.[0]
}

test('a plain text is prepared from its second use on, and parsed anew when its time is over', async () => {
  await using manager = open({ preparedLifetimeMillis: LIFETIME_MILLIS })
  const names = async (): Promise<string[]> => {
    const { rows } = await manager.query(
      "SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT $1::int AS n'",
    )
    return rows.map(({ name }: { name: string }) => name)
  }
  await manager.query('SELECT $1::int AS n', [1])
  assert.deepEqual(await names(), [])
  await manager.query('SELECT $1::int AS n', [1])
  const first = await names()
  assert.equal(first.length, 1)
  await sleep(LIFETIME_MILLIS + 10)
  await manager.query('SELECT $1::int AS n', [1])
  const second = await names()
  assert.equal(second.length, 1)
  assert.notEqual(second[0], first[0])
})

test('a literal that stands for the present is read anew each time', async () => {
  await using manager = open()
  const seen = new Set<unknown>()
  for (let time = 0; time < 4; time++) {
    seen.add(await firstValue(manager, "SELECT 'now'::timestamptz::text"))
    await sleep(2)
  }
  assert.equal(seen.size, 4)
})

test('a setting of one transaction is not read into the texts of the next, which are on their way already', async () => {
  await using manager = open()
  const text = "SELECT extract(epoch FROM '2026-01-01 00:00'::timestamptz)::int AS v"
  const inZone = (zone: string): Promise<unknown> =>
    manager.transaction(async (connection) => {
      await connection.query(`SET LOCAL timezone TO '${zone}'`)
      await firstValue(connection, text)
      return firstValue(connection, text)
    })
  const plain = (): Promise<unknown> => manager.transaction((connection) => firstValue(connection, text))
  await manager.query("SET timezone TO 'UTC'")
  const utc = await plain()
  // Each is sent behind the COMMIT of the one before, whose answer brings the report of what falls back.
  const turns = [inZone('Asia/Tokyo'), plain(), plain(), inZone('America/New_York'), plain(), plain()]
  const [tokyo, ...others] = await Promise.all(turns)
  assert.deepEqual([tokyo, ...others], [Number(utc) - 9 * 3600, utc, utc, Number(utc) + 5 * 3600, utc, utc])
})

test('a setting that no server reports ends with its transaction, too, although its turn began behind a COMMIT', async () => {
  await using manager = open()
  const text = 'SELECT (1 = NULL) IS NULL AS v'
  await prepare(manager, text)
  const plain = (): Promise<unknown> => manager.transaction((connection) => firstValue(connection, text))
  const changed = manager.transaction.bind(manager, async (connection: Connection) => {
    await connection.query('SET LOCAL transform_null_equals TO on')
    await firstValue(connection, text)
    return firstValue(connection, text)
  })
  // The COMMIT of the first is answered when SET LOCAL is on its way already.
  assert.deepEqual(await Promise.all([plain(), changed(), plain(), plain()]), [true, false, true, true])
})

test('a setting that a trigger changes is noticed by the server’s report', async () => {
  await admin.query(`
    CREATE TABLE zones (zone text, local bool);
    CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM set_config('TimeZone', NEW.zone, NEW.local); RETURN NEW; END $$;
    CREATE TRIGGER move BEFORE INSERT ON zones FOR EACH ROW EXECUTE FUNCTION move()`)
  await using manager = open()
  const text = "SELECT extract(epoch FROM '2026-01-01 00:00'::timestamptz)::int AS v"
  await manager.query("SET timezone TO 'UTC'")
  await prepare(manager, text)
  const utc = Number(await firstValue(manager, text))
  const plain = (): Promise<unknown> => manager.transaction((connection) => firstValue(connection, text))
  const moved = manager.transaction.bind(manager, async (connection: Connection) => {
    await connection.query("INSERT INTO zones VALUES ('Asia/Tokyo', true)")
    await firstValue(connection, text)
    return firstValue(connection, text)
  })
  assert.deepEqual(await Promise.all([plain(), moved(), plain(), plain()]), [utc, utc - 9 * 3600, utc, utc])
  await manager.query("INSERT INTO zones VALUES ('Asia/Tokyo', false)")
  assert.equal(await firstValue(manager, text), utc - 9 * 3600)
})

test('a function that nobody sees through may set what it likes: what comes behind it is parsed behind it', async () => {
  await admin.query(
    "CREATE FUNCTION move_to(zone text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('TimeZone', zone, false) $$",
  )
  await using manager = open()
  const text = "SELECT extract(epoch FROM '2026-01-01 00:00'::timestamptz)::int AS v"
  await manager.query("SET timezone TO 'UTC'")
  await prepare(manager, text)
  const [, before, , behind] = await Promise.all([
    manager.query("SELECT move_to('Asia/Tokyo')"),
    firstValue(manager, text),
    manager.query("SELECT move_to('UTC')"),
    firstValue(manager, text),
  ])
  assert.equal(Number(behind) - Number(before), 9 * 3600)
})

for (const [how, text] of Object.entries({
  'CREATE TABLE AS': 'CREATE TEMP TABLE shadowed AS SELECT 2 AS n',
  'a comment before CREATE': '/* app */ CREATE TEMP TABLE shadowed AS SELECT 2 AS n',
  'SELECT INTO': 'SELECT 2 AS n INTO TEMP shadowed',
  DO: "DO $$ BEGIN EXECUTE 'CREATE TEMP TABLE shadowed AS SELECT 2 AS n'; END $$",
  'several statements': 'SELECT 1; CREATE TEMP TABLE shadowed AS SELECT 2 AS n',
  'a function': 'SELECT shadow_it()',
})) {
  test(`a temporary table that hides another is found by the next one-shot: ${how}`, async () => {
    await admin.query(`
      CREATE TABLE IF NOT EXISTS shadowed AS SELECT 1 AS n;
      CREATE OR REPLACE FUNCTION shadow_it() RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN CREATE TEMP TABLE shadowed AS SELECT 2 AS n; END $$`)
    await using manager = open()
    // The session has a temporary schema already: its search path does not change.
    await manager.query('CREATE TEMP TABLE another (n int)')
    await prepare(manager, 'SELECT n FROM shadowed')
    assert.equal(await firstValue(manager, 'SELECT n FROM shadowed'), 1)
    await manager.use((connection) => connection.query(text), { autocommit: true })
    assert.equal(await firstValue(manager, 'SELECT n FROM shadowed'), 2)
  })
}

test('what another session changes is seen when the lifetime is over: types, columns, functions', async () => {
  await admin.query('CREATE TABLE moved (at timestamp)')
  await using manager = open({ preparedLifetimeMillis: LIFETIME_MILLIS })
  const insert = (value: string): Promise<{ rows: { v: string }[] }> =>
    manager.query("INSERT INTO moved VALUES ($1) RETURNING (at AT TIME ZONE 'UTC')::text AS v", [value])
  await prepare(manager, "INSERT INTO moved VALUES ($1) RETURNING (at AT TIME ZONE 'UTC')::text AS v", [
    '2026-01-01',
  ])
  await admin.query("ALTER TABLE moved ALTER at TYPE timestamptz USING at AT TIME ZONE 'UTC'")
  await sleep(LIFETIME_MILLIS + 10)
  const { rows } = await insert('2026-06-01T12:00:00+09:00')
  assert.equal(rows[0]!.v, '2026-06-01 03:00:00')
})

test('a stale text that failed is parsed anew the next time, however young it is', async () => {
  await admin.query('CREATE TABLE renamed (a int)')
  await using manager = open({ preparedLifetimeMillis: 60_000 })
  const text = 'SELECT * FROM renamed WHERE a = $1'
  await prepare(manager, text, [1])
  await admin.query("ALTER TABLE renamed ALTER a TYPE text; INSERT INTO renamed VALUES ('x')")
  // The parameter is an integer still: that much may go unnoticed.
  assert.equal(((await rejectionOf(manager.query(text, ['x']))) as { code?: string }).code, '22P02')
  const { rows } = await manager.query(text, ['x'])
  assert.deepEqual(rows, [{ a: 'x' }])
})

test('a stale one-shot is sent again where nothing was sent behind it', async () => {
  await admin.query('CREATE TABLE widened (v text)')
  await using manager = open({ preparedLifetimeMillis: 60_000 })
  await prepare(manager, 'SELECT * FROM widened')
  await admin.query('ALTER TABLE widened ADD COLUMN more int')
  assert.equal((await manager.query('SELECT * FROM widened')).fields.length, 2)
})

test('a stale write is never done behind what was asked for after it', async () => {
  await admin.query("CREATE TABLE ordered (v text); INSERT INTO ordered VALUES ('start')")
  await using manager = open({ preparedLifetimeMillis: 60_000 })
  const first = "UPDATE ordered SET v = 'first' RETURNING *"
  await prepare(manager, first)
  await admin.query('ALTER TABLE ordered ADD COLUMN more int')
  const [one, two] = await Promise.allSettled([
    manager.query(first),
    manager.query("UPDATE ordered SET v = 'second'"),
  ])
  assert.equal(two.status, 'fulfilled')
  if (one.status === 'rejected') assert.equal((one.reason as { code?: string }).code, '0A000')
  assert.equal(await firstValue(manager, 'SELECT v FROM ordered'), 'second')
})

test('DEALLOCATE ALL inside of DO costs the next holder nothing', async () => {
  await using manager = open()
  await prepare(manager, 'SELECT 2 AS two')
  await manager.use((connection) => connection.query("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$"), {
    autocommit: true,
  })
  await manager.transaction(async (connection) => {
    await connection.query('SELECT 1')
    assert.equal(await firstValue(connection, 'SELECT 2 AS two'), 2)
  })
})

test('reset: what a holder’s texts were parsed under is not kept for the next', async () => {
  const onConnect = async (client: { query(text: string): Promise<unknown> }): Promise<void> => {
    await client.query("SET timezone TO 'UTC'")
  }
  await using manager = open({ reset: 'session', onConnect })
  const text = "SELECT extract(epoch FROM '2026-01-01 00:00'::timestamptz)::int AS v"
  const utc = await firstValue(manager, text)
  for (let time = 0; time < 3; time++) {
    await manager.use(
      async (connection) => {
        await connection.query("SET timezone TO 'Asia/Tokyo'")
        assert.equal(await firstValue(connection, text), Number(utc) - 9 * 3600)
      },
      { autocommit: true },
    )
    assert.equal(await firstValue(manager, text), utc)
  }
})

const named = (
  name: string,
  text: string,
  values: unknown[] = [],
): { name: string; text: string; values: unknown[] } => ({
  name,
  text,
  values,
})

test('any name will do for a statement, those that every object has as well', async () => {
  await using manager = open()
  for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty'])
    for (let time = 0; time < 2; time++) {
      const { rows } = await manager.query(named(name, 'SELECT $1::int AS n', [time]))
      assert.deepEqual(rows, [{ n: time }], name)
    }
})

test('two texts under one name: the second is refused, in one session and at once', async () => {
  await using manager = open()
  const unique = /Prepared statements must be unique/
  await manager.query(named('mine', 'SELECT 1 AS n'))
  await assert.rejects(manager.query(named('mine', 'SELECT 2 AS n')), unique)
  // The server looks at 63 bytes.
  const long = 'é'.repeat(31)
  await manager.query(named(`${long}a1`, 'SELECT 1 AS n'))
  await assert.rejects(manager.query(named(`${long}a2`, 'SELECT 2 AS n')), unique)
  await manager.use(async (connection) => {
    const [one, two] = await Promise.allSettled([
      connection.query(named('other', 'SELECT 1 AS n')),
      connection.query(named('other', 'SELECT 2 AS n')),
    ])
    assert.equal(one.status, 'fulfilled')
    assert.match(String((two as PromiseRejectedResult).reason), unique)
    await connection.rollback()
  })
})

test('one name several times at once runs each, in a holder and in a batch', async () => {
  await using manager = open()
  const all = await Promise.all(
    [1, 2, 3].map((n) => manager.query(named('shared', 'SELECT $1::int AS n', [n]))),
  )
  assert.deepEqual(
    all.map(({ rows }) => rows[0].n as number),
    [1, 2, 3],
  )
  await manager.transaction(async (connection) => {
    const held = await Promise.all(
      [1, 2].map((n) => connection.query(named('held', 'SELECT $1::int AS n', [n]))),
    )
    assert.deepEqual(
      held.map(({ rows }) => rows[0].n as number),
      [1, 2],
    )
  })
  for (let time = 0; time < 2; time++) {
    const [one, two] = await manager.batch([
      named('batched', 'SELECT $1::int AS n', [1]),
      named('batched', 'SELECT $1::int AS n', [2]),
    ])
    assert.deepEqual([one!.rows[0].n, two!.rows[0].n], [1, 2])
  }
})

test('a batch refuses another text under a name, its own as well as the session’s', async () => {
  await using manager = open()
  const unique = /Prepared statements must be unique/
  await admin.query('CREATE TABLE kept (a int); INSERT INTO kept VALUES (1)')
  const one = named('one', 'SELECT 1 AS a')
  await assert.rejects(manager.batch([one, named('one', 'DELETE FROM kept')]), unique)
  await manager.query(one)
  await assert.rejects(manager.batch([named('one', 'DELETE FROM kept')]), unique)
  const explicit = manager.batch([named('one', 'DELETE FROM kept')], { isolationLevel: 'serializable' })
  await assert.rejects(explicit, unique)
  assert.deepEqual((await manager.batch([one, one]))[1].rows, [{ a: 1 }])
  assert.equal(await firstValue(manager, 'SELECT count(*)::int FROM kept'), 1)
})

test('a batch that fails before it has prepared a name costs nobody who asks for it, too', async () => {
  await using manager = open()
  const nine = named('nine', 'SELECT 9 AS n')
  const [batch, neighbour] = await Promise.allSettled([
    manager.batch(['SELECT 1/0', nine]),
    manager.query(nine),
  ])
  assert.equal(batch.status, 'rejected')
  assert.deepEqual(neighbour.status === 'fulfilled' && neighbour.value.rows, [{ n: 9 }])
})

test('names of several bytes a letter are written whole, wherever the memory ends', async () => {
  await using manager = open()
  const { processID } = (await manager.query('SELECT'), manager.stats)
  for (let time = 0; time < 700; time++) {
    const config = named('☃'.repeat(21), 'SELECT 1 / $1::int AS n', ['0'.padStart(1 + (time % 97), '0')])
    await assert.rejects(manager.query(config), { code: '22012' })
  }
  assert.equal(manager.stats.processID, processID)
})

test('a name can be used again after its Parse failed, after its statement failed, and after DEALLOCATE', async () => {
  await using manager = open()
  await assert.rejects(manager.query(named('again', 'SELEC 1')), { code: '42601' })
  await manager.query(named('again', 'SELECT 1 / $1::int AS n', [1]))
  await assert.rejects(manager.query(named('again', 'SELECT 1 / $1::int AS n', [0])), { code: '22012' })
  await manager.query(named('again', 'SELECT 1 / $1::int AS n', [1]))
  for (const text of ['DEALLOCATE again', 'DEALLOCATE ALL', 'DISCARD ALL']) {
    await manager.query(text)
    const { rows } = await manager.query(named('again', 'SELECT 1 / $1::int AS n', [1]))
    assert.deepEqual(rows, [{ n: 1 }], text)
  }
})

test('a name without a text is the server’s to know: what it does not know is an error', async () => {
  await using manager = open()
  const nameOnly = { name: 'by_sql' } as { name: string; text: string }
  await assert.rejects(manager.query(nameOnly), { code: '26000' })
  await manager.query('PREPARE by_sql AS SELECT 7 AS n')
  assert.deepEqual((await manager.query(nameOnly)).rows, [{ n: 7 }])
})
