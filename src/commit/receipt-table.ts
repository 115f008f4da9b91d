/** The table of `verifyCommit: { table }`: how it is made, how it is kept small, and whether it is good for its purpose. */
import { escapeIdentifier } from '../pg/driver.js'
import type { Connection } from '../api/connection.js'
import type { Manager } from '../api/manager.js'

/** Options of `createReceiptTable`. */
export interface ReceiptTableOptions {
  /** Roles that may leave receipts: those that the application logs in with, where they do not own the table. */
  readonly roles?: readonly string[] | undefined
}

/** Who finds out about a COMMIT looks at receipts of 24 hours; the hour is for clocks and long statements. */
const KEPT = '25 hours'

/**
 * Makes the table that `verifyCommit: { table: name }` leaves its receipts in, where it is not there yet, and lets
 * `roles` insert into it.
 *
 * @param name as in SQL: `receipts`, `app.receipts`, `"App".receipts`
 * @throws `DatabaseError` where the role may not create it
 *
 * ```ts
 * await createReceiptTable(manager, 'app.receipts', { roles: ['web'] })
 * ```
 */
export async function createReceiptTable(
  manager: Manager,
  name: string,
  { roles = [] }: ReceiptTableOptions = {},
): Promise<void> {
  const table = quotePath(name)
  const make = async (connection: Connection): Promise<void> => {
    await connection.query(`
      CREATE TABLE IF NOT EXISTS ${table} (
        id uuid PRIMARY KEY,
        stored_at timestamptz NOT NULL DEFAULT clock_timestamp()
      )`)
    for (const role of roles) await connection.query(`GRANT INSERT ON ${table} TO ${escapeIdentifier(role)}`)
  }
  // A manager may have it for its receipts already.
  await manager.transaction(make, { verifyCommit: false })
}

/**
 * Removes the receipts that nobody will look for any more, those of more than 25 hours. To be called now and then, by
 * the owner of the table: a payment service with 100 transactions a second leaves nine million rows a day.
 *
 * @returns how many were removed
 */
export async function purgeReceipts(manager: Manager, name: string): Promise<number> {
  const old = `stored_at < clock_timestamp() - interval '${KEPT}'`
  const { rowCount } = await manager.query(`DELETE FROM ${quotePath(name)} WHERE ${old}`)
  return rowCount ?? 0
}

/** What the server says of a table. */
export interface TableFacts {
  /** Quoted, with its schema. */
  readonly name: string
  readonly ordinary: boolean
  readonly permanent: boolean
  readonly secured: boolean
  readonly unique: boolean
  readonly insertable: boolean
}

/** Gives one row, or none where there is no such table. */
export const TABLE_TEXT = `
  SELECT
    pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
    c.relkind OPERATOR(pg_catalog.=) 'r' AS ordinary,
    c.relpersistence OPERATOR(pg_catalog.=) 'p' AS permanent,
    c.relrowsecurity AS secured,
    EXISTS (
      SELECT FROM pg_catalog.pg_index i
      JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid
      WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND a.attname OPERATOR(pg_catalog.=) 'id'
        AND i.indkey[0] OPERATOR(pg_catalog.=) a.attnum AND i.indnkeyatts OPERATOR(pg_catalog.=) 1
        AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL
    ) AS unique,
    pg_catalog.has_table_privilege(c.oid, 'INSERT') AS insertable
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)`

/** Why a receipt in it would prove nothing; null where all is well. */
export function tableFault(facts: TableFacts | undefined): string | null {
  if (facts === undefined) return 'does not exist; createReceiptTable() makes it'
  if (!facts.ordinary) return 'is not an ordinary table'
  if (!facts.permanent) return 'is not permanent: a crash would empty it'
  if (facts.secured) return 'has row-level security, which may hide a receipt'
  if (!facts.unique) return 'has no valid, immediate unique index on "id" alone'
  return facts.insertable ? null : 'may not be inserted into by this role: GRANT INSERT'
}

/** Parts as in SQL: what is not in quotation marks is folded to lower case. Throws a TypeError for anything else. */
function quotePath(name: string): string {
  const parts = [...name.matchAll(/\s*(?:"((?:[^"]|"")+)"|([\p{L}_][\p{L}\p{N}_$]*))\s*(\.|$)/guy)]
  const whole = parts.map(([text]) => text).join('') === name && !name.trimEnd().endsWith('.')
  if (parts.length === 0 || parts.length > 2 || !whole) {
    throw new TypeError(`a receipt table's name is like schema.table, but it is ${JSON.stringify(name)}`)
  }
  return parts
    .map(([, quoted, plain]) => escapeIdentifier(quoted?.replaceAll('""', '"') ?? plain!.toLowerCase()))
    .join('.')
}
