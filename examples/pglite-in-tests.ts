/** Tests without a server: each file has a PostgreSQL of its own inside the process, and each test begins with the same data. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { PGlite } from '@electric-sql/pglite'
import { ManagedConnection } from 'pg-managed-connection'
import { pgliteStream } from 'pg-managed-connection/pglite'
import { openSandbox, type Sandbox } from 'pg-managed-connection/sandbox'

let db: PGlite
let manager: ManagedConnection
let sandbox: Sandbox

before(async () => {
  db = await PGlite.create()
  manager = new ManagedConnection({ stream: pgliteStream(db) })
  await manager.query('CREATE TABLE accounts (owner text PRIMARY KEY, balance int CHECK (balance >= 0))')
  await manager.query("INSERT INTO accounts VALUES ('Ann', 100), ('Bob', 100)")
  sandbox = await openSandbox(manager)
})

afterEach(() => sandbox.reset())

after(async () => {
  await sandbox.end()
  await manager.end()
  await db.close()
})

/** What is tested. It knows a manager, and not which. */
async function transfer(from: string, to: string, amount: number): Promise<void> {
  await sandbox.transaction(async (connection) => {
    const text = 'UPDATE accounts SET balance = balance + $2 WHERE owner = $1'
    await connection.query(text, [to, amount])
    await connection.query(text, [from, -amount])
  })
}

async function balances(): Promise<unknown[]> {
  const { rows } = await sandbox.query('SELECT owner, balance FROM accounts ORDER BY owner')
  return rows.map(({ owner, balance }) => [owner, balance])
}

test('money changes hands', async () => {
  await transfer('Ann', 'Bob', 30)
  assert.deepEqual(await balances(), [
    ['Ann', 70],
    ['Bob', 130],
  ])
})

test('what Ann has not got stays where it is', async () => {
  await assert.rejects(transfer('Ann', 'Bob', 130), { code: '23514' })
  assert.deepEqual(await balances(), [
    ['Ann', 100],
    ['Bob', 100],
  ])
})
