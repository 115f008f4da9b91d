/** How a manager shows itself: its string, its status, its figures. */
import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { ManagedConnection } from 'pg-managed-connection'
import { createGate, reason } from '../support/caught.js'
import { openSuite } from '../support/suite.js'
import { until } from '../support/wait.js'

const { test, database } = await openSuite()

const SECRET = 'sécret-hunter2'

test('a password is shown as ***, in every form of connection string', () => {
  for (const conninfo of [
    `postgres://user:${encodeURIComponent(SECRET)}@host/db`,
    `postgresql://host/db?password=${encodeURIComponent(SECRET)}`,
    `host=host user=user password='${SECRET}'`,
    { host: 'host', user: 'user', password: SECRET },
    { host: 'host', password: () => SECRET },
    { connectionString: `postgres://user:${encodeURIComponent(SECRET)}@host/db` },
  ]) {
    const manager = new ManagedConnection(conninfo)
    for (const shown of [
      String(manager),
      inspect(manager),
      inspect({ manager }),
      `${manager}`,
      JSON.stringify({ manager }),
    ]) {
      assert.ok(!shown.includes(SECRET) && !shown.includes(encodeURIComponent(SECRET)), shown)
    }
    assert.ok(String(manager).includes('***'), String(manager))
  }
})

test('inspect shows how it is: closed, idle, active, intrans, inerror', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const state = (): string => /\((\w+)\)>$/.exec(inspect(manager))![1]!
  assert.match(inspect(manager), /^<ManagedConnection: postgresql:\/\/.* \(closed\)>$/)
  await manager.use(async (connection) => {
    assert.equal(state(), 'idle')
    const running = connection.query('SELECT 1')
    assert.equal(state(), 'active')
    await running
    assert.equal(state(), 'intrans')
    await reason(connection.query('SELECT 1 / 0'))
    assert.equal(state(), 'inerror')
    await connection.rollback()
  })
  await manager.close()
  assert.equal(state(), 'closed')
})

test('stats are a frozen snapshot, made on access', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const before = manager.stats
  assert.ok(Object.isFrozen(before))
  assert.deepEqual(before, {
    held: false,
    heldMillis: null,
    holderLabel: null,
    statement: null,
    waiting: 0,
    longestWaitMillis: null,
    inFlight: 0,
    processID: null,
    connectedMillis: null,
    prepared: 0,
    connects: 0,
    reconnects: 0,
    disconnects: 0,
    acquires: 0,
    releases: 0,
    rollbacks: 0,
    rollbacksByReason: {
      error: 0,
      uncommitted: 0,
      unfinished: 0,
      ended: 0,
      'hold timeout': 0,
      'holder gone': 0,
      aborted: 0,
      'one-shot': 0,
    },
    timeouts: 0,
    flushes: 0,
    groupCommits: 0,
    verifiedCommitted: 0,
    verifiedNone: 0,
    verifiedUnknown: 0,
  })
  const gate = createGate()
  const holder = manager.use(async (connection) => {
    await connection.query('SELECT 1')
    await gate.opened
    throw new Error('mine')
  })
  await until(() => manager.stats.held, { what: 'the holder' })
  const waiter = manager.use(() => {})
  const late = reason(manager.use(() => {}, { timeoutMillis: 30 }))
  await late
  const during = manager.stats
  assert.equal(during.held, true)
  assert.ok(during.heldMillis! >= 0)
  assert.equal(during.waiting, 1)
  assert.equal(during.timeouts, 1)
  assert.equal(during.acquires, 1)
  assert.equal(during.releases, 0)
  assert.deepEqual(await database.admin.backends(), [during.processID])
  assert.ok(during.connectedMillis! >= 0)
  gate.open()
  await reason(holder)
  await waiter
  await manager.close()
  const after = manager.stats
  assert.deepEqual(
    [
      after.held,
      after.waiting,
      after.acquires,
      after.releases,
      after.rollbacks,
      after.connects,
      after.disconnects,
    ],
    [false, 0, 2, 2, 1, 1, 1],
  )
  assert.equal(after.processID, null)
  assert.equal(before.acquires, 0)
})

test('status is null exactly when it is closed', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  assert.deepEqual([manager.closed, manager.status], [true, null])
  await manager.query('SELECT 1')
  assert.deepEqual([manager.closed, manager.status], [false, 'idle'])
  await manager.close()
  assert.deepEqual([manager.closed, manager.status], [true, null])
})
