/** Drizzle on the pool face: migrations, queries, transactions, nested ones. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eq, sql } from 'drizzle-orm'
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import { integer, pgTable, serial, timestamp } from 'drizzle-orm/pg-core'
import { AcquireTimeoutError } from 'pg-managed-connection'
import {
  ChangeOfMind,
  changesItsMind,
  KEPT_SUM,
  openPooled,
  orChangeOfMind,
  tasks,
} from '../../support/ecosystem.js'
import { openSuite } from '../../support/suite.js'
import { within } from '../../support/wait.js'

const account = pgTable('account', { id: integer().primaryKey(), balance: integer().notNull() })
const entry = pgTable('entry', {
  id: serial().primaryKey(),
  accountId: integer('account_id').notNull(),
  amount: integer().notNull(),
  at: timestamp({ withTimezone: true }).notNull().defaultNow(),
})

const MIGRATIONS = [
  'CREATE TABLE account (id integer PRIMARY KEY, balance integer NOT NULL);',
  'CREATE TABLE entry (id serial PRIMARY KEY, account_id integer NOT NULL REFERENCES account, ' +
    'amount integer NOT NULL, at timestamptz NOT NULL DEFAULT now());\n--> statement-breakpoint\n' +
    'INSERT INTO account VALUES (1, 0);',
]

const { test, database } = await openSuite()

/** A folder as drizzle-kit makes it. */
async function writeMigrations(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'drizzle-'))
  await mkdir(join(folder, 'meta'))
  const entries = MIGRATIONS.map((_, idx) => ({
    idx,
    version: '7',
    when: idx + 1,
    tag: `m${idx}`,
    breakpoints: true,
  }))
  const journal = { version: '7', dialect: 'postgresql', entries }
  await writeFile(join(folder, 'meta', '_journal.json'), JSON.stringify(journal))
  for (const [idx, text] of MIGRATIONS.entries()) await writeFile(join(folder, `m${idx}.sql`), text)
  return folder
}

const open = (it: ReturnType<typeof openPooled>): NodePgDatabase => drizzle({ client: it.pool })

test('Drizzle migrates, and a second time does nothing', async () => {
  await using it = openPooled(database)
  const migrationsFolder = await writeMigrations()
  try {
    await migrate(open(it), { migrationsFolder })
    await migrate(open(it), { migrationsFolder })
  } finally {
    await rm(migrationsFolder, { recursive: true })
  }
  assert.deepEqual(await open(it).select().from(account), [{ id: 1, balance: 0 }])
  assert.equal(it.leaks, 0)
})

test('Drizzle’s queries run at the same time, and its types come back', async () => {
  await using it = openPooled(database)
  const db = open(it)
  const rows = await within(
    Promise.all(tasks((n) => db.execute<{ n: number }>(sql`SELECT ${n}::int AS n`))),
    'everybody',
  )
  rows.forEach((result, n) => assert.deepEqual(result.rows, [{ n }]))
  const [made] = await db.insert(entry).values({ accountId: 1, amount: 0 }).returning()
  assert.ok(made!.at instanceof Date)
})

test('Drizzle’s transactions commit, and roll back on an error, one after the other', async () => {
  await using it = openPooled(database)
  const db = open(it)
  const asked = tasks((n) =>
    orChangeOfMind(
      db.transaction(
        async (tx) => {
          const balance = (await tx.select().from(account).where(eq(account.id, 1)))[0]!.balance
          await tx.insert(entry).values({ accountId: 1, amount: n })
          await tx
            .update(account)
            .set({ balance: balance + n })
            .where(eq(account.id, 1))
          if (changesItsMind(n)) throw new ChangeOfMind()
        },
        { isolationLevel: 'serializable' },
      ),
    ),
  )
  await within(Promise.all(asked), 'everybody')
  const { balance } = (await db.select().from(account))[0]!
  const { total } = (await db.select({ total: sql<number>`sum(${entry.amount})::int` }).from(entry))[0]!
  assert.equal(balance, KEPT_SUM)
  assert.equal(total, KEPT_SUM)
  assert.equal(it.leaks, 0)
  assert.equal(it.manager.stats.connects, 1)
})

test('Drizzle’s nested transactions are savepoints', async () => {
  await using it = openPooled(database)
  const db = open(it)
  await db.transaction(async (tx) => {
    await tx.insert(account).values({ id: 2, balance: 0 })
    const nested = tx.transaction(async (inner) => {
      await inner.insert(account).values({ id: 3, balance: 0 })
      await inner.insert(account).values({ id: 2, balance: 0 })
    })
    await assert.rejects(nested, (error: Error) => (error.cause as { code?: string }).code === '23505')
    await tx.insert(account).values({ id: 4, balance: 0 })
  })
  const rows = await db.select({ id: account.id }).from(account).orderBy(account.id)
  assert.deepEqual(
    rows.map(({ id }) => id),
    [1, 2, 4],
  )
})

test('Drizzle’s prepared statements work under their names', async () => {
  await using it = openPooled(database)
  const db = open(it)
  const prepared = db
    .select()
    .from(account)
    .where(eq(account.id, sql.placeholder('id')))
    .prepare('account_by_id')
  const found = await Promise.all(tasks((n) => prepared.execute({ id: (n % 2) + 1 })))
  found.forEach((rows, n) => assert.equal(rows[0]!.id, (n % 2) + 1))
})

test('Drizzle outside its own transaction, inside of it, waits for itself: the error says who holds', async () => {
  await using it = openPooled(database, { acquireTimeoutMillis: 500 })
  const db = open(it)
  const wrong = db.transaction(async () => void (await db.select().from(account)))
  await assert.rejects(wrong, (error: Error) => {
    assert.ok(error.cause instanceof AcquireTimeoutError)
    assert.match(error.cause.message, /held for \d+ms/)
    return true
  })
  await db.select().from(account)
})
