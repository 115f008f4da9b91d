/** What a step stands on: a database of its own, with Ann and Bob in it. */
import { ManagedConnection } from 'pg-managed-connection'
import { createDatabase, type TestDatabase } from '../../../test/support/database.js'

/** By what must hold. */
export type Steps = Readonly<Record<string, () => Promise<void>>>

export interface Ground {
  readonly manager: ManagedConnection
  readonly database: TestDatabase
}

export async function onGround(step: (ground: Ground) => Promise<void>): Promise<void> {
  await using database = await createDatabase()
  await database.admin.query('CREATE TABLE accounts (id int PRIMARY KEY, owner text, balance int)')
  await database.admin.query("INSERT INTO accounts VALUES (1, 'Ann', 100), (2, 'Bob', 100)")
  await using manager = new ManagedConnection(database.conninfo)
  await step({ manager, database })
}

/** Who has how much, as somebody else sees it. */
export async function balances({ admin }: TestDatabase): Promise<number[]> {
  const rows = await admin.rows<{ balance: number }>('SELECT balance FROM accounts ORDER BY id')
  return rows.map(({ balance }) => balance)
}
