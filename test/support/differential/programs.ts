/**
 * Random programs of several holders, for a comparison of what they see with and without prepared statements: texts whose
 * meaning hangs on settings and tables, and whatever changes those.
 */
import type { Random } from '../random.js'

/** A statement of a program. */
export interface Step {
  readonly text: string
  readonly values?: readonly unknown[]
}

/** Something that is asked of the manager. */
export type Ask =
  | { readonly kind: 'query'; readonly step: Step }
  | { readonly kind: 'batch'; readonly steps: readonly Step[] }
  | { readonly kind: 'autocommit'; readonly steps: readonly Step[]; readonly atOnce: boolean }
  | {
      readonly kind: 'transaction'
      readonly steps: readonly Step[]
      /** Issued without awaiting each other. */
      readonly atOnce: boolean
      /** Steps of a nested transaction that is rolled back, before the others. */
      readonly undone: readonly Step[]
      readonly end: 'commit' | 'throw'
    }

/** What is asked at once, and what another session does to the tables before. */
export interface Phase {
  readonly elsewhere: string | null
  readonly asks: readonly Ask[]
}

export type Program = readonly Phase[]

/** Brings the database to where each program begins. */
export const BEGINNING = `
  DROP SCHEMA IF EXISTS t1, t2, public CASCADE; CREATE SCHEMA public; CREATE SCHEMA t1; CREATE SCHEMA t2;
  CREATE TABLE public.items (id int, name text, at timestamp);
  CREATE TABLE t1.items (id int, name text, at timestamp);
  CREATE TABLE t2.items (id bigint, name varchar(4), extra text, at timestamptz);
  CREATE TABLE public.shadow AS SELECT 1 AS n;
  INSERT INTO public.items VALUES (1, 'p', '2026-01-01 12:00');
  INSERT INTO t1.items VALUES (1, 'a', '2026-01-01 12:00');
  INSERT INTO t2.items VALUES (3000000000, 'b', 'x', '2026-01-01 12:00+00');
  GRANT USAGE ON SCHEMA public, t1, t2 TO pg_monitor;
  CREATE FUNCTION change_zone(zone text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('TimeZone', zone, false) $$;
  CREATE FUNCTION make_shadow() RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN DROP TABLE IF EXISTS pg_temp.shadow; CREATE TEMP TABLE shadow AS SELECT 3 AS n; END $$;
`

const READS: readonly (readonly [text: string, ...values: readonly (() => readonly unknown[])[]])[] = [
  ['SELECT * FROM items ORDER BY 1, 2'],
  ['SELECT id::text AS id, name FROM items ORDER BY 1, 2'],
  ['SELECT n FROM shadow'],
  ['SELECT name FROM items WHERE id = $1 ORDER BY 1', () => [1], () => [3_000_000_000], () => ['x']],
  ['SELECT count(*)::int AS n FROM items WHERE at <= $1', () => ['2026-01-01T20:00:00+09:00']],
  ['SELECT count(*)::int AS n FROM items WHERE at <= $1 AND name <> $2', () => ['2026-01-01 13:00', 'a']],
  ["SELECT count(*)::int AS n FROM items WHERE at >= '2026-01-01 12:00'"],
  ["SELECT extract(epoch FROM '2026-01-01 00:00'::timestamptz)::int AS v"],
  ["SELECT ('01/02/2026'::date)::text AS v"],
  ["SELECT extract(epoch FROM '-1 2:03:04'::interval)::int AS v"],
  ["SELECT length('a\\n') AS v"],
  ['SELECT (1 = NULL) IS NULL AS v'],
  ["SELECT ('{NULL}'::text[])[1] IS NULL AS v"],
  ["SELECT to_regclass('items')::oid::regclass::text AS v"],
  ["SELECT 'items'::regclass::text AS v"],
  ['SELECT current_user::text AS v, current_schema AS s'],
  ["SELECT current_setting('TimeZone') AS v"],
  ['SELECT $1::int + $2::int AS n', () => [1, 2], () => [1, 'x']],
  ['SELECT $1::text AS v', () => ['a'], () => [null]],
  ['SELECT 1 / $1::int AS v', () => [1], () => [0]],
]

const WRITES: readonly (readonly [text: string, ...values: readonly (() => readonly unknown[])[]])[] = [
  ['INSERT INTO items (id, name) VALUES ($1, $2) RETURNING *', () => [2, 'new'], () => [3, 'longer']],
  ['INSERT INTO items (id, at) VALUES ($1, $2) RETURNING at::text', () => [4, '2026-06-01T12:00:00+09:00']],
  ["UPDATE items SET name = name || '+' RETURNING *"],
  ["INSERT INTO items (id, at) VALUES (5, '02/03/2026 04:05') RETURNING at::text"],
  ['DELETE FROM items WHERE id = $1', () => [2], () => [5_000_000_000]],
]

const SETTINGS: readonly (readonly [name: string, ...values: readonly string[]])[] = [
  ['timezone', 'UTC', 'Asia/Tokyo', 'America/New_York'],
  ['datestyle', 'ISO, MDY', 'ISO, DMY'],
  ['intervalstyle', 'postgres', 'sql_standard'],
  ['standard_conforming_strings', 'on', 'off'],
  ['transform_null_equals', 'on', 'off'],
  ['array_nulls', 'on', 'off'],
]

const CHANGES: readonly string[] = [
  'RESET ALL',
  'SET LOCAL ROLE pg_monitor',
  'RESET ROLE',
  'DEALLOCATE ALL',
  "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$",
  'DISCARD TEMP',
  'CREATE TEMP TABLE shadow AS SELECT 2 AS n',
  '/* by the application */ CREATE TEMP TABLE shadow AS SELECT 2 AS n',
  'SELECT 2 AS n INTO TEMP shadow',
  "DO $$ BEGIN EXECUTE 'CREATE TEMP TABLE shadow AS SELECT 2 AS n'; END $$",
  'SELECT make_shadow()',
  'DROP TABLE IF EXISTS pg_temp.shadow',
  "SELECT change_zone('Asia/Tokyo')",
  "SELECT change_zone('UTC')",
  "DO $$ BEGIN PERFORM set_config('search_path', 't1', true); END $$",
]

const TABLE_CHANGES: readonly string[] = [
  'ALTER TABLE items ADD COLUMN IF NOT EXISTS more int',
  'ALTER TABLE items DROP COLUMN IF EXISTS more',
  'ALTER TABLE items ALTER id TYPE bigint',
  'ALTER TABLE items ALTER id TYPE int',
  'ALTER TABLE items ALTER at TYPE timestamptz',
  'ALTER TABLE items ALTER at TYPE timestamp',
  'ALTER TABLE items ALTER name TYPE char(8)',
  'ALTER TABLE items ALTER name TYPE text',
]

const SCHEMAS = ['public', 't1', 't2', 't1, public', 't2, t1']

/** What one program is made of: few texts, so that each comes often enough to be prepared, and meets every change. */
class Vocabulary {
  readonly #random: Random
  readonly #reads: typeof READS
  readonly #writes: typeof WRITES
  readonly #settings: readonly (readonly [name: string, ...values: readonly string[]])[]
  readonly #changes: readonly string[]

  constructor(random: Random) {
    this.#random = random
    this.#reads = draw(random, READS, 3)
    this.#writes = draw(random, WRITES, 2)
    this.#settings = draw(random, [...SETTINGS, ['search_path', ...SCHEMAS]], 2)
    this.#changes = [...draw(random, CHANGES, 2), ...draw(random, TABLE_CHANGES, 1)]
  }

  plainStep(): Step {
    const [text, ...values] = this.#random.pick(this.#random.chance(0.75) ? this.#reads : this.#writes)
    return values.length === 0 ? { text } : { text, values: this.#random.pick(values)() }
  }

  step(): Step {
    const kind = this.#random.next()
    if (kind < 0.6) return this.plainStep()
    return kind < 0.85 ? this.#setting() : { text: this.#random.pick(this.#changes) }
  }

  #setting(): Step {
    const random = this.#random
    const [name, ...values] = random.pick(this.#settings)
    const value = random.pick(values)
    const isLocal = random.chance(0.7)
    if (random.chance(0.3)) return { text: 'SELECT set_config($1, $2, $3)', values: [name, value, isLocal] }
    return {
      text: `SET ${isLocal ? 'LOCAL ' : ''}${name} TO ${name === 'search_path' ? value : `'${value}'`}`,
    }
  }

  steps(most: number, make = (): Step => this.step()): Step[] {
    return Array.from({ length: 1 + this.#random.below(most) }, make)
  }

  ask(): Ask {
    const random = this.#random
    const kind = random.next()
    if (kind < 0.4) return { kind: 'query', step: random.chance(0.8) ? this.plainStep() : this.step() }
    if (kind < 0.47) return { kind: 'batch', steps: this.steps(3) }
    const atOnce = random.chance(0.3)
    if (kind < 0.57) return { kind: 'autocommit', steps: this.steps(4), atOnce }
    return {
      kind: 'transaction',
      steps: this.steps(4),
      atOnce,
      undone: random.chance(0.15) ? this.steps(3) : [],
      end: random.chance(0.8) ? 'commit' : 'throw',
    }
  }
}

function draw<T>(random: Random, list: readonly T[], count: number): T[] {
  return Array.from({ length: count }, () => random.pick(list))
}

export function randomProgram(random: Random): Program {
  const vocabulary = new Vocabulary(random)
  return Array.from({ length: 2 + random.below(3) }, (_, phase) => ({
    elsewhere:
      phase > 0 && random.chance(0.15)
        ? `SET search_path TO ${random.pick(['public', 't1', 't2'])}; ${random.pick(TABLE_CHANGES)}`
        : null,
    asks: Array.from({ length: 3 + random.below(8) }, () => vocabulary.ask()),
  }))
}
