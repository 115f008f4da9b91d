/** What is asked of the server, the same for every variant of a row. */
import type { Parts, Rows } from './peers.js'

export interface Work {
  /** One statement with one parameter, `$1`. */
  readonly text: string
  /** How many times it is sent within one transaction or batch. */
  readonly statements: number
  /** The parameter of operation `n`. */
  value(n: number): number
  /** Throws unless the rows are those of operation `n`. */
  check(rows: Rows, n: number): void
}

/** The least that can be asked: one row of one number, and the right one. */
export function selectNumber(statements = 1): Work {
  return { text: 'SELECT $1::int AS n', statements, value: itself, check: isNumber }
}

/** A statement that keeps the server busy for a while, so that one connection cannot do more than so many a second. */
export const SELECT_SLOWLY: Work = { ...selectNumber(), text: 'SELECT $1::int AS n FROM pg_sleep(0.005)' }

/** What a page of an application might show. */
export const SELECT_ITEMS: Work = {
  text: 'SELECT id, name, price, stock, active, created FROM item WHERE id <= $1::int',
  statements: 1,
  value: () => 100,
  check: areItems,
}

/** The least that leaves a trace: a row of one number. */
export function insertNumber(statements = 1): Work {
  return {
    text: 'INSERT INTO proof VALUES ($1::int) RETURNING n',
    statements,
    value: itself,
    check: isNumber,
  }
}

/** The tables behind the work. */
export const TABLES = `
  CREATE TABLE proof (n int);
  CREATE TABLE item (id int, name text, price float8, stock int, active boolean, created timestamptz);
  INSERT INTO item SELECT n, 'item ' || n, n * 1.25, n % 7, n % 2 = 0, timestamptz '2026-01-01' + n * interval '1 hour'
    FROM generate_series(1, 100) AS n;
  ANALYZE item;
`

/** The statement as a tag function gets it, its parameter being the one value. */
export function partsOf({ text }: Work): Parts {
  const parts = text.split('$1')
  // Frozen as those of a literal are; one of the libraries looks at that.
  return Object.freeze(Object.assign(parts, { raw: Object.freeze([...parts]) }))
}

function itself(n: number): number {
  return n
}

function isNumber(rows: Rows, n: number): void {
  if (rows.length !== 1 || rows[0]!['n'] !== n) throw new Error(`expected the number ${n} in one row`)
}

function areItems(rows: Rows): void {
  const last = rows[99]
  if (rows.length !== 100 || typeof last!['price'] !== 'number' || !(last!['created'] instanceof Date)) {
    throw new Error('expected 100 rows with a number and a Date in each')
  }
}
