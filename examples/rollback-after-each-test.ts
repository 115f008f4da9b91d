/** A test suite that rolls back after each test, so that each begins with the same data and none cleans up. */
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { ManagedConnection, type Connection } from 'pg-managed-connection'
import { openServer, type ExampleServer } from './support/server.js'

let server: ExampleServer
let manager: ManagedConnection
let connection: Connection

before(async () => {
  server = await openServer()
  manager = new ManagedConnection(server.conninfo)
  await manager.query('CREATE TEMPORARY TABLE accounts AS SELECT 100 AS balance')
})

after(async () => {
  await manager.end()
  await server[Symbol.asyncDispose]()
})

// A holder's first statement opens a transaction by itself; here nobody commits it.
beforeEach(async () => {
  connection = await manager.acquire()
})

afterEach(async () => {
  await connection.rollback()
  await connection.release()
})

async function balance(): Promise<number> {
  const { rows } = await connection.query<{ balance: number }>('SELECT balance FROM accounts')
  return rows[0]!.balance
}

test('paying in', async () => {
  await connection.query('UPDATE accounts SET balance = balance + 50')
  assert.equal(await balance(), 150)
})

test('what is tested may use transactions of its own: here they are savepoints', async () => {
  const failing = connection.transaction(async (nested) => {
    await nested.query('UPDATE accounts SET balance = 0')
    throw new Error('no')
  })
  await assert.rejects(failing, /no/)
  assert.equal(await balance(), 100)
})
