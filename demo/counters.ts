/** The rows that the tasks increment, and how many increments were confirmed to them. */
import type { Admin } from '../test/support/admin.js'

/** As much of a connection as an increment needs: pg's client has it, and so has ours. */
export interface Queryable {
  query(text: string, values: unknown[]): Promise<{ rows: { n: number }[] }>
}

/** The rows: one for each part of the demo. */
export const ROWS = ['managed', 'pool', 'mistakes', 'killed', 'restart'] as const
export type Row = (typeof ROWS)[number]

/**
 * Reads the number, adds one here, and writes it back: two who are inside at the same time would both write the
 * same number, and one increment would be lost for good.
 */
export async function increment(connection: Queryable, row: Row): Promise<void> {
  const { rows } = await connection.query('SELECT n FROM counter WHERE name = $1', [row])
  await connection.query('UPDATE counter SET n = $2 WHERE name = $1', [row, rows[0]!.n + 1])
}

export class Counters {
  readonly #admin: Admin
  readonly #confirmed = new Map<Row, number>()

  constructor(admin: Admin) {
    this.#admin = admin
  }

  async create(): Promise<void> {
    await this.#admin.query('CREATE TABLE counter (name text PRIMARY KEY, n int NOT NULL)')
    await this.#admin.query('INSERT INTO counter SELECT unnest($1::text[]), 0', [ROWS])
    await this.#admin.query('CREATE TABLE receipt (task int PRIMARY KEY)')
  }

  /** A task was told that its increment is saved. */
  confirm(row: Row, by = 1): void {
    this.#confirmed.set(row, this.confirmed(row) + by)
  }

  confirmed(row: Row): number {
    return this.#confirmed.get(row) ?? 0
  }

  /** What the server has, read through a connection of the demo's own. */
  async stored(): Promise<Readonly<Record<Row, number>>> {
    const rows = await this.#admin.rows<{ name: Row; n: number }>('SELECT name, n FROM counter')
    return Object.fromEntries(rows.map(({ name, n }) => [name, n])) as Record<Row, number>
  }
}
