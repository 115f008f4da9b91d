/** What a COMMIT does to the session beside storing, in a sandbox as on a manager: temporary tables, cursors, settings. */
import { before } from 'node:test'
import type { Manager } from 'pg-managed-connection'
import { openManager } from '../support/manager.js'
import { assertSame, type Step } from '../support/same-in-sandbox.js'
import { openSuite } from '../support/suite.js'

const { test, database } = await openSuite()

before(async () => {
  await using manager = openManager(database.conninfo)
  await manager.query(`
    CREATE FUNCTION locally(name text, value text) RETURNS text LANGUAGE plpgsql AS
      $$ BEGIN RETURN set_config(name, value, true); END $$;
    CREATE FUNCTION as_tenant(value text) RETURNS text LANGUAGE sql AS
      $$ SELECT set_config('app.tenant', value, true) $$;
    CREATE FUNCTION with_little() RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET LOCAL work_mem = 100; END $$;
    CREATE FUNCTION as_reader() RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET LOCAL ROLE pg_monitor; END $$;
    CREATE TABLE touched (id int);
    CREATE FUNCTION on_touch() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN SET LOCAL enable_seqscan = off; PERFORM set_config('app.touched', 'yes', true); RETURN NULL; END $$;
    CREATE TRIGGER touch AFTER INSERT ON touched FOR EACH ROW EXECUTE FUNCTION on_touch()`)
})

const itself = async (manager: Manager) => ({ it: manager, close: async () => {} })

/** Statements that are a transaction each, or one together. */
function alone(...texts: string[]): Step<Manager> {
  const step: Step<Manager> = async (manager) => {
    const seen: unknown[] = []
    for (const text of texts) seen.push(await manager.query(text).catch((error: unknown) => error))
    return seen
  }
  return Object.assign(step, { toString: () => `alone: ${texts.join('; ')}` })
}

function together(...texts: string[]): Step<Manager> {
  const step: Step<Manager> = (manager) =>
    manager.transaction(async (connection) => {
      const seen: unknown[] = []
      for (const text of texts) seen.push(await connection.query(text))
      return seen
    })
  return Object.assign(step, { toString: () => `together: ${texts.join('; ')}` })
}

const ROWS = 'SELECT * FROM kept'

test('a COMMIT empties or drops temporary tables as their ON COMMIT says, and a ROLLBACK does not', () =>
  assertSame(database.conninfo, itself, [
    alone('CREATE TEMP TABLE kept (id int) ON COMMIT DELETE ROWS', 'INSERT INTO kept VALUES (1)', ROWS),
    together('INSERT INTO kept VALUES (2)', ROWS),
    together('INSERT INTO kept VALUES (3)', 'SELECT 1 / 0'),
    alone(ROWS, 'DROP TABLE kept', 'CREATE TEMP TABLE kept (id int)', 'INSERT INTO kept VALUES (4)', ROWS),
    alone('DROP TABLE kept', 'CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT 5 AS id', ROWS),
    together('CREATE LOCAL TEMP TABLE IF NOT EXISTS pg_temp."Kept" (id int) ON COMMIT DROP', 'TABLE "Kept"'),
    alone('TABLE "Kept"'),
    together(
      'CREATE TEMP TABLE kept (id int PRIMARY KEY) ON COMMIT DELETE ROWS',
      'CREATE TEMP TABLE more (id int REFERENCES kept) ON COMMIT DELETE ROWS',
      'INSERT INTO kept VALUES (6)',
      'INSERT INTO more VALUES (6)',
      'DECLARE them CURSOR FOR SELECT * FROM kept',
      'FETCH them',
    ),
    alone(
      ROWS,
      'TABLE more',
      'ALTER TABLE kept RENAME TO other',
      'INSERT INTO other VALUES (7)',
      'TABLE other',
    ),
    alone("SELECT 1 AS one; CREATE TEMP TABLE t2 ON COMMIT DROP AS SELECT ';' AS x; TABLE t2", 'TABLE t2'),
    alone(
      'BEGIN; CREATE TEMP TABLE t3 (id int) ON COMMIT DELETE ROWS; INSERT INTO t3 VALUES (1); COMMIT',
      'TABLE t3',
    ),
    alone('CREATE TEMP TABLE t4 ON COMMIT PRESERVE ROWS AS SELECT 1 AS id', 'TABLE t4'),
    (manager) =>
      manager.use(async (connection) => {
        await connection.query('CREATE TEMP TABLE t5 ON COMMIT DROP AS SELECT 1 AS id')
        await connection.rollback()
        await connection.query('CREATE TEMP TABLE t5 AS SELECT 2 AS id')
        await connection.commit()
        const seen = await connection.query('TABLE t5')
        await connection.rollback()
        return seen
      }),
  ]))

test('a COMMIT closes cursors, and not those WITH HOLD', () =>
  assertSame(database.conninfo, itself, [
    together(
      'DECLARE one CURSOR FOR SELECT 1',
      'DECLARE "Two" CURSOR WITH HOLD FOR VALUES (1), (2)',
      'FETCH one',
    ),
    alone('FETCH one', 'FETCH "Two"', 'SELECT name FROM pg_cursors', 'CLOSE "Two"'),
    alone(
      'DECLARE three CURSOR FOR SELECT 1',
      '/* a note */ DECLARE four CURSOR FOR SELECT 1',
      'LOCK touched',
    ),
    (manager) =>
      manager.use(async (connection) => {
        await connection.query('DECLARE five CURSOR FOR SELECT 1')
        await connection.commit()
        const seen = await connection.query('FETCH five').catch((error: unknown) => error)
        await connection.rollback()
        return seen
      }),
  ]))

const SETTINGS = `SELECT current_setting('work_mem') AS work_mem, current_setting('enable_seqscan') AS scan, current_user,
  coalesce(current_setting('app.tenant', true), '') AS tenant, coalesce(current_setting('app.touched', true), '') AS touched,
  coalesce(current_setting('app.other', true), '') AS other, current_setting('search_path') AS path,
  current_setting('timezone') AS zone`

test('what is set for a transaction ends with it, wherever it was set', () =>
  assertSame(database.conninfo, itself, [
    alone(SETTINGS, 'SELECT with_little()', "SELECT as_tenant('one')", SETTINGS),
    together('SELECT with_little()', "SELECT as_tenant('two')", SETTINGS),
    alone(SETTINGS),
    together("SELECT locally('search_path', 'pg_catalog')", SETTINGS),
    alone(SETTINGS),
    together('SELECT as_reader()', SETTINGS),
    alone(SETTINGS),
    alone('INSERT INTO touched VALUES (1)', SETTINGS),
    together('INSERT INTO touched VALUES (1)', SETTINGS),
    alone(SETTINGS),
    (manager) =>
      manager.transaction(async (connection) => {
        await connection.query('SELECT set_config($1, $2, true)', ['app.other', 'x'])
        await connection.query('SELECT set_config($1, $2, $3)', ['work_mem', '300', true])
        return connection.query(SETTINGS)
      }),
    alone(SETTINGS),
    together("SET LOCAL TIME ZONE 'Asia/Tokyo'", SETTINGS),
    alone(SETTINGS),
    alone('SET LOCAL work_mem = 500', SETTINGS),
    together('SET LOCAL ROLE pg_monitor', 'SET LOCAL work_mem = 500', SETTINGS),
    alone(SETTINGS),
    together('CREATE FUNCTION later() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT 1::text; END'),
    together(
      `CREATE FUNCTION anew() RETURNS text LANGUAGE sql AS 'SELECT set_config(''app.anew'', ''x'', true)'`,
      'SELECT anew()',
    ),
    alone("SELECT current_setting('app.anew', true) AS anew"),
    alone('DROP FUNCTION anew, later'),
  ]))

test('what is set for the session stays', () =>
  assertSame(database.conninfo, itself, [
    alone('SET work_mem = 200', SETTINGS),
    together('SET LOCAL work_mem = 300', SETTINGS),
    alone(SETTINGS),
    together('SET work_mem = 400', 'SET LOCAL work_mem = 500', SETTINGS),
    alone(SETTINGS),
    together('SET LOCAL work_mem = 600', 'SET work_mem = 700', SETTINGS),
    alone(SETTINGS),
    together('SET work_mem = 800', 'SELECT with_little()', 'SELECT 1 / 0'),
    alone(SETTINGS),
    together("SELECT set_config('app.tenant', 'lasting', false)", SETTINGS),
    together("SELECT as_tenant('short')", SETTINGS),
    alone(SETTINGS),
    (manager) => manager.query('SELECT set_config($1, $2, $3)', ['search_path', 'pg_catalog, public', false]),
    alone(SETTINGS, 'RESET search_path', 'RESET work_mem', "SET TIME ZONE 'UTC'", SETTINGS),
    together('SET ROLE pg_monitor'),
    alone(SETTINGS, 'RESET ROLE', SETTINGS),
    (manager) => manager.query({ text: SETTINGS, settings: { work_mem: '7MB', 'app.tenant': 'turn' } }),
    alone(SETTINGS, "SELECT set_config('app.tenant', '', false)", 'RESET timezone'),
  ]))
