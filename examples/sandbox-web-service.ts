/** Tests of a web service on one database, each of which is undone: the service does not know of it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { after, afterEach, before, test } from 'node:test'
import type { AddressInfo } from 'node:net'
import { ManagedConnection, type Manager } from 'pg-managed-connection'
import { openSandbox, type Sandbox } from 'pg-managed-connection/sandbox'
import { openServer, type ExampleServer } from './support/server.js'

// ---- the service, which takes any manager

/** POST /transfers/5 pays 5 from Ann to Bob; GET /balances says what they have. */
function createService(manager: Manager): Server {
  return createServer((request, response) => {
    answer(manager, request, response).catch((error: unknown) => {
      const { code } = error as { code?: string }
      response.writeHead(code === '23514' ? 409 : 500).end()
    })
  })
}

async function answer(
  manager: Manager,
  { method, url = '' }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const amount = /^\/transfers\/(\d+)$/.exec(url)?.[1]
  if (method === 'POST' && amount !== undefined) {
    await manager.transaction(async (connection) => {
      await connection.query("UPDATE shop.accounts SET balance = balance + $1 WHERE owner = 'Bob'", [amount])
      await connection.query("UPDATE shop.accounts SET balance = balance - $1 WHERE owner = 'Ann'", [amount])
    })
    response.writeHead(204).end()
  } else if (method === 'GET' && url === '/balances') {
    const { rows } = await manager.query('SELECT owner, balance FROM shop.accounts ORDER BY owner')
    response.end(JSON.stringify(rows))
  } else response.writeHead(404).end()
}

// ---- its tests

let server: ExampleServer
let manager: ManagedConnection
let sandbox: Sandbox
let service: Server
let base: string

before(async () => {
  server = await openServer()
  manager = new ManagedConnection(server.conninfo)
  sandbox = await openSandbox(manager)
  await sandbox.query(`CREATE SCHEMA shop;
    CREATE TABLE shop.accounts (owner text PRIMARY KEY, balance int CHECK (balance >= 0));
    INSERT INTO shop.accounts VALUES ('Ann', 100), ('Bob', 100)`)
  await sandbox.mark() // what each test begins with
  service = createService(sandbox).listen(0, '127.0.0.1')
  await once(service, 'listening')
  base = `http://127.0.0.1:${(service.address() as AddressInfo).port}`
})

afterEach(() => sandbox.reset())

after(async () => {
  service.close()
  await sandbox.end()
  await manager.end()
  await server[Symbol.asyncDispose]()
})

const pay = (amount: number): Promise<Response> => fetch(`${base}/transfers/${amount}`, { method: 'POST' })

async function balances(): Promise<unknown> {
  return (await fetch(`${base}/balances`)).json()
}

test('a payment is made', async () => {
  assert.equal((await pay(30)).status, 204)
  assert.deepEqual(await balances(), [
    { owner: 'Ann', balance: 70 },
    { owner: 'Bob', balance: 130 },
  ])
})

test('nobody pays more than there is, and the test before is undone', async () => {
  assert.equal((await pay(101)).status, 409)
  assert.deepEqual(await balances(), [
    { owner: 'Ann', balance: 100 },
    { owner: 'Bob', balance: 100 },
  ])
})

test('payments at the same time are made one after the other', async () => {
  const statuses = (await Promise.all([60, 60, 40].map(pay))).map(({ status }) => status)
  assert.deepEqual(statuses.sort(), [204, 204, 409])
  const rows = (await balances()) as { balance: number }[]
  assert.equal(
    rows.reduce((sum, { balance }) => sum + balance, 0),
    200,
  )
})
