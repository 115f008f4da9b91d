/** What a manager tells its listeners, and when. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type ConnectEvent,
  type HoldWarningEvent,
  type NoticeEvent,
  type RollbackEvent,
} from 'pg-managed-connection'
import { reason, settle } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { openSuite } from '../support/suite.js'
import { until } from '../support/wait.js'

const { test, database } = await openSuite()

test(
  'connect and disconnect: one each for each server connection, with what is known of it',
  { needs: ['kill'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const connects: ConnectEvent[] = []
    const disconnects: unknown[][] = []
    manager.on('connect', (event) => connects.push(event))
    manager.on('disconnect', (...args) => disconnects.push(args))
    await manager.query('SELECT 1')
    const first = manager.stats.processID
    await manager.close()
    await manager.query('SELECT 1')
    const second = manager.stats.processID
    assert.deepEqual(
      connects.map(({ processID, reconnected }) => ({ processID, reconnected })),
      [
        { processID: first, reconnected: false },
        { processID: second, reconnected: true },
      ],
    )
    for (const { openedMillis } of connects) assert.ok(openedMillis > 0 && openedMillis < 10_000)
    assert.equal(disconnects.length, 1)
    assert.equal(disconnects[0]![0], undefined)
    await database.admin.terminate(second!)
    await until(() => disconnects.length === 2, { what: 'the loss' })
    assert.ok(disconnects[1]![0] instanceof Error)
    assert.equal(manager.closed, true)
    await manager.query('SELECT 1')
    await manager.end()
    await settle()
    assert.equal(connects.length, 3)
    assert.equal(disconnects.length, 3, 'end() disconnects, too')
    assert.equal(manager.stats.disconnects, 3)
  },
)

test('connect comes before anyone has the connection, and after onConnect', async () => {
  const order: string[] = []
  await using manager = new ManagedConnection(database.conninfo, {
    onConnect: async (client) => {
      await client.query('SELECT 1')
      order.push('onConnect')
    },
  })
  manager.on('connect', () => order.push('connect'))
  manager.on('acquire', () => order.push('acquire'))
  manager.on('release', () => order.push('release'))
  await manager.use(() => void order.push('work'))
  assert.deepEqual(order, ['onConnect', 'connect', 'acquire', 'work', 'release'])
})

test('acquire tells how long was waited, release how long it was held', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const waited: number[] = []
  const held: number[] = []
  manager.on('acquire', ({ waitedMillis }) => waited.push(waitedMillis))
  manager.on('release', ({ heldMillis }) => held.push(heldMillis))
  await Promise.all([manager.use(() => sleep(60)), manager.transaction(() => {})])
  assert.equal(waited.length, 2)
  assert.equal(held.length, 2)
  assert.ok(waited[1]! >= 50 && held[0]! >= 50, `${waited.join()} ${held.join()}`)
})

test('rollback: one that the library did, and why; one by the holder is none', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const events: RollbackEvent[] = []
  manager.on('rollback', (event) => events.push(event))
  await manager.use(async (connection) => {
    await connection.query('SELECT 1')
    await connection.rollback()
  })
  assert.deepEqual(events, [])
  await reason(manager.use((connection) => connection.query('SELECT 1')))
  await reason(manager.use((connection) => connection.query('SELECT 1 / 0')))
  await reason(manager.use((connection) => void connection.query('SELECT 2')))
  await reason(
    manager.transaction(async (connection) => {
      await connection.query('SELECT 3')
      throw new Error('mine')
    }),
  )
  assert.deepEqual(events, [
    { reason: 'uncommitted', label: null, statement: 'SELECT 1' },
    { reason: 'error', label: null, statement: 'SELECT 1 / 0' },
    { reason: 'unfinished', label: null, statement: 'SELECT 2' },
    { reason: 'error', label: null, statement: 'SELECT 3' },
  ])
  assert.equal(manager.stats.rollbacks, 4)
})

test('holdWarning comes once while it is held, with the stack, and once when it was returned after all', async () => {
  await using manager = new ManagedConnection(database.conninfo, { holdWarningMillis: 40 })
  const events: HoldWarningEvent[] = []
  manager.on('holdWarning', (event) => events.push(event))
  async function aSlowHolder(): Promise<void> {
    await manager.use(() => sleep(150))
  }
  await aSlowHolder()
  await manager.use(() => {})
  assert.deepEqual(
    events.map(({ returned }) => returned),
    [false, true],
  )
  assert.ok(events[0]!.heldMillis >= 35 && events[0]!.heldMillis <= events[1]!.heldMillis)
  assert.match(events[0]!.stack!, /aSlowHolder/)
})

test('notice brings what the server says, of holders and one-shots', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const notices: NoticeEvent[] = []
  manager.on('notice', (notice) => notices.push(notice))
  await manager.query("DO $$BEGIN RAISE NOTICE 'one'; END$$")
  await manager.transaction((connection) =>
    connection.query("DO $$BEGIN RAISE WARNING 'two' USING HINT = 'look'; END$$"),
  )
  assert.deepEqual(
    notices.map(({ severity, message, hint }) => [severity, message, hint]),
    [
      ['NOTICE', 'one', undefined],
      ['WARNING', 'two', 'look'],
    ],
  )
})

test(
  'an idle connection that is killed tells disconnect, and needs no listener of error',
  { needs: ['kill'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    let gone = 0
    manager.on('disconnect', () => gone++)
    await manager.query('SELECT 1')
    assert.equal(manager.listenerCount('error'), 0)
    await database.admin.terminate(manager.stats.processID!)
    await until(() => gone === 1, { what: 'the loss' })
    await manager.query('SELECT 1')
  },
)

test('a listener that ends the manager, or asks, from any event deadlocks nothing', async () => {
  const manager = new ManagedConnection(database.conninfo)
  let ended: Promise<void> | undefined
  manager.on('release', () => {
    ended ??= manager.end()
  })
  await manager.use(() => {})
  await ended
  assert.equal(manager.closed, true)
})

test('idle: nobody holds the connection, waits or is unanswered, once each time', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const seen: unknown[] = []
  manager.on('idle', () => {
    const { held, waiting, inFlight } = manager.stats
    seen.push({ held, waiting, inFlight })
  })
  const idle = { held: false, waiting: 0, inFlight: 0 }
  await Promise.all([
    manager.query('SELECT pg_sleep(0.02)'),
    manager.transaction((connection) => connection.query('SELECT 1')),
    manager.use(() => {}),
  ])
  await until(() => seen.length > 0, { what: 'the first' })
  assert.deepEqual(seen, [idle])
  await manager.batch(['SELECT 1', 'SELECT 2'])
  await until(() => seen.length > 1, { what: 'the second' })
  assert.deepEqual(seen, [idle, idle])
  await manager.close()
  assert.equal(seen.length, 2)
})
