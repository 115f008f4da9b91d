/** What is read in a text: whether it may be prepared, and what it may do to the meaning of others. */
import assert from 'node:assert/strict'
import { internal } from '../support/internals.js'
import { leakTest } from '../support/suite.js'

const { classify } = await internal('classify')

const test = leakTest()

test('a text that means the same at every time may be prepared', () => {
  for (const text of [
    'SELECT $1::int AS n',
    "SELECT * FROM t WHERE status = 'active' AND at > now() - interval '1 day'",
    'INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET (b, c) = (EXCLUDED.b, 1) RETURNING *',
    'insert into "t" ("a") values ($1)',
    'WITH x (a, b) AS (SELECT 1, 2) SELECT count(*) FILTER (WHERE a > 1) OVER (PARTITION BY b) FROM x',
    'SELECT x::numeric(10, 2), CAST(y AS varchar(3)), coalesce(z, 0) FROM t AS x (y, z)',
    'SELECT pg_catalog.lower(a), jsonb_agg(b) FROM unnest($1::text[]) AS u(a)',
    'MERGE INTO t USING s ON t.a = s.a WHEN NOT MATCHED THEN INSERT (a) VALUES (s.a)',
    "SELECT set_config('app.tenant', $1, true)",
    'SELECT (SELECT 1), ARRAY(SELECT 2), EXISTS (SELECT 3), a IN (1, 2) FROM t',
  ])
    assert.equal(classify(text).preparable, true, text)
})

test('a literal that stands for the present is not prepared, however it is written', () => {
  for (const text of [
    "SELECT 'now'::timestamptz",
    "SELECT date 'Tomorrow'",
    "SELECT 'yesterday allballs'::timestamp",
    "SELECT ' TODAY '::date",
    'SELECT $$now$$::timestamptz',
    'SELECT $x$today$x$::date',
    "SELECT E'n\\x6fw'::timestamptz",
    "SELECT U&'n\\006fw'::timestamptz",
    "SELECT (U&'n!006fw' UESCAPE '!')::timestamptz",
    "SELECT 'n\\157w'::timestamptz",
    "SELECT 'to'\n'day'::date",
  ])
    assert.equal(classify(text).preparable, false, text)
  assert.equal(classify('SELECT now(), today FROM t').preparable, true)
})

test('harmful: what may change a setting, make a table, or do what nobody knows', () => {
  for (const text of [
    'SET search_path TO a',
    "SET LOCAL timezone TO 'UTC'",
    'SET ROLE x',
    'RESET ALL',
    "SELECT set_config('search_path', 'a', true)",
    'SELECT set_config($1, $2, false)',
    'SELECT a INTO b FROM c',
    'WITH x AS (SELECT 1) SELECT * INTO TEMP b FROM x',
    '/* app */ CREATE TEMP TABLE a AS SELECT 1',
    'ALTER TABLE a ADD b int',
    'DO $$ BEGIN END $$',
    'CALL p()',
    'EXECUTE p',
    'DEALLOCATE ALL',
    'DISCARD TEMP',
    'SELECT 1; SELECT 2',
    'SELECT my_function()',
    'SELECT DISTINCT ON (1) my_function()',
    'SELECT "Quoted"(1)',
    'SELECT my_schema.lower($1)',
    'INSERT INTO t VALUES (make_it_so())',
    'EXPLAIN ANALYZE SELECT 1',
    "SELECT 'never ends",
  ]) {
    assert.equal(classify(text).harmless, false, text)
    assert.equal(classify(text).preparable, false, text)
  }
})

test('harmless: queries, transaction control, limits, settings of the user’s own', () => {
  for (const text of [
    'SELECT 1',
    'BEGIN',
    'COMMIT',
    'SAVEPOINT a',
    'SET LOCAL statement_timeout = 100',
    "SET application_name TO 'x'",
    "SET LOCAL app.tenant TO '7'",
    'SET SESSION app.tenant = 7',
    'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE',
    'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
    'SET CONSTRAINTS ALL IMMEDIATE',
    'RESET lock_timeout',
    'SHOW search_path',
    'LISTEN a',
    'LOCK TABLE a',
    'TRUNCATE a',
    'COPY t (a, b) FROM STDIN',
    'DECLARE c CURSOR FOR SELECT 1',
    '',
  ])
    assert.equal(classify(text).harmless, true, text)
})

test('set_config() in a query is a SET: what others ask for does not follow before it is answered', () => {
  assert.equal(classify("SELECT set_config('client_encoding', 'LATIN1', false)").kind, 'other')
  assert.equal(classify('SELECT set_config($1, $2, false)').kind, 'other')
  assert.equal(classify("SELECT set_config('app.tenant', $1, true)").kind, 'plain')
})

test('what may undo a LISTEN is known', () => {
  for (const text of [
    'UNLISTEN *',
    'DISCARD ALL',
    'DO $$ $$',
    'SELECT f()',
    'SELECT 1; UNLISTEN a',
    'CREATE TABLE a AS SELECT f()',
    'FETCH c',
  ])
    assert.equal(classify(text).mayUnlisten, true, text)
  for (const text of ['SELECT 1', 'LISTEN a', 'SET search_path TO a', 'DROP TABLE a', 'COMMIT'])
    assert.equal(classify(text).mayUnlisten, false, text)
})

test('a key word is the name of a function of the user’s where an expression begins', () => {
  for (const word of [
    'by',
    'cube',
    'filter',
    'join',
    'key',
    'matched',
    'over',
    'partition',
    'rollup',
    'set',
  ]) {
    for (const text of [`SELECT ${word}(1)`, `SELECT 1, ${word} (1)`, `SELECT * FROM ${word}(1)`]) {
      assert.equal(classify(text).reads, false, text)
      assert.equal(classify(text).harmless, false, text)
    }
  }
  for (const text of [
    'SELECT count(*) FILTER (WHERE true) OVER (PARTITION BY (a)) FROM t ORDER BY (a)',
    'SELECT a FROM t JOIN (SELECT 1) AS u ON (true) GROUP BY ROLLUP (a)',
    'SELECT a FROM t GROUP BY GROUPING SETS ((a), ())',
    "SELECT a OPERATOR(pg_catalog.+) 1, 'x'::character varying(10) FROM t",
  ]) {
    assert.equal(classify(text).reads, true, text)
  }
  assert.equal(classify('UPDATE t SET (a, b) = (1, 2)').harmless, true)
  assert.equal(
    classify('INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET (a, b) = (1, 2)').harmless,
    true,
  )
})
