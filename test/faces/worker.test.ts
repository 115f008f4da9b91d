/** What is special to a worker's manager: messages that cross, copies between threads, its own end and figures. */
import assert from 'node:assert/strict'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import {
  ManagedConnection,
  ManagerEndedError,
  ReentrantAcquireError,
  type ManagedConnectionOptions,
  type Manager,
} from 'pg-managed-connection'
import { attach, share } from 'pg-managed-connection/worker'
import { caught, createGate, outcome, reason } from '../support/caught.js'
import { Cursor } from '../support/submittables.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()

/** A worker's manager, and the one that owns the connection. */
interface Attached extends AsyncDisposable {
  readonly manager: Manager
  readonly owner: ManagedConnection
}

function open(options?: ManagedConnectionOptions): Attached {
  const owner = new ManagedConnection(database.conninfo, options)
  const manager = attach(share(owner))
  const dispose = async (): Promise<void> => {
    await manager.end({ timeoutMillis: 1_000 })
    await owner.end({ timeoutMillis: 1_000 })
    await nextTurn()
  }
  return { manager, owner, [Symbol.asyncDispose]: dispose }
}

/** Nobody keeps the connection, and it can be opened. */
async function serves(manager: Manager): Promise<void> {
  const served = manager.use(() => 'served')
  assert.equal(await within(served, 'the next to be served', 5_000), 'served')
}

// ---- messages that cross

test('an aborted ask rejects with the reason, and the others are served', async () => {
  await using attached = open()
  const { manager } = attached
  const gate = createGate()
  const holder = manager.use(() => gate.opened)
  const controller = new AbortController()
  const why = new Error('why')
  const aborted = [
    manager.use(() => assert.fail('granted'), { signal: controller.signal }),
    manager.acquire({ signal: controller.signal }),
    manager.transaction(() => assert.fail('granted'), { signal: controller.signal }),
    manager.batch(['SELECT 1'], { signal: controller.signal }),
  ].map((asked) => reason(asked))
  const served = manager.query('SELECT 1 AS one')
  await sleep(20)
  controller.abort(why)
  for (const error of await Promise.all(aborted)) assert.equal(error, why)
  gate.open()
  await holder
  assert.equal((await served).rows[0].one, 1)
  assert.equal(await reason(manager.use(() => {}, { signal: controller.signal })), why)
  assert.equal(await reason(manager.tryAcquire({ signal: controller.signal })), why)
  assert.equal(await reason(manager.query({ text: 'SELECT 1', signal: controller.signal })), why)
})

test('a statement’s signal aborts it with whatever it is given, null too', async () => {
  await using attached = open()
  const { manager } = attached
  await manager.query('SELECT 1')
  const controller = new AbortController()
  setTimeout(() => controller.abort(null), 30)
  const asked = await outcome(manager.query({ text: 'SELECT pg_sleep(20)', signal: controller.signal }))
  assert.ok(asked.status === 'rejected')
  assert.equal(asked.reason, null)
})

test('an ask that is aborted in the same tick does not keep the manager from connecting', async () => {
  await using attached = open()
  const abort = new AbortController()
  const why = new Error('enough')
  const asked = reason(attached.manager.use(() => {}, { signal: abort.signal }))
  abort.abort(why)
  assert.equal(await asked, why)
  await serves(attached.manager)
})

test('an abort that crosses with the grant gives the turn back', async () => {
  await using attached = open()
  const { manager, owner } = attached
  await manager.query('SELECT 1')
  for (let ticks = 0; ticks < 20; ticks++) {
    const gate = createGate()
    const holder = owner.use(() => gate.opened)
    const abort = new AbortController()
    const asked = outcome(manager.use(() => 'held', { signal: abort.signal }))
    await until(() => owner.stats.waiting === 1, { what: 'one to wait' })
    gate.open()
    await holder
    // At one of these moments the owner has granted the turn, and its word is on its way.
    for (let tick = 0; tick < ticks; tick++) await Promise.resolve()
    abort.abort()
    await asked
    await serves(manager)
  }
})

test('a statement that is aborted before its turn has come never runs', async () => {
  await using attached = open()
  const { manager } = attached
  await manager.query('SELECT 1')
  const before = manager.use((connection) => connection.commit(), { close: true })
  const abort = new AbortController()
  const why = new Error('enough')
  const transaction = manager.transaction(async (connection) => {
    const asked = connection.query({ text: 'SELECT pg_sleep(30)', signal: abort.signal })
    abort.abort(why)
    await asked
  })
  assert.equal(await within(reason(transaction), 'the abort', 5_000), why)
  await before
  await serves(manager)
})

test('one-shots that are slow do not keep the answers of others back', async () => {
  await using attached = open()
  const { manager } = attached
  const fast = manager.query('SELECT 1 AS one')
  const slow = manager.query('SELECT pg_sleep(0.5)')
  const result = await within(fast, 'the fast one', 300)
  assert.deepEqual(result.rows, [{ one: 1 }])
  await slow
})

// ---- copies between threads

test('a hundred thousand rows and ten megabytes arrive whole', async () => {
  await using attached = open()
  const { manager } = attached
  const { rows } = await manager.query<{ n: number; t: string }>(
    "SELECT n, 'row ' || n AS t FROM generate_series(1, 100000) AS n",
  )
  assert.equal(rows.length, 100_000)
  assert.deepEqual(rows[99_999], { n: 100_000, t: 'row 100000' })
  const sent = Buffer.alloc(10_000_000, 7)
  const back = await manager.query<{ bytes: Buffer }>('SELECT $1::bytea AS bytes', [sent])
  assert.ok(Buffer.isBuffer(back.rows[0]!.bytes))
  assert.ok(back.rows[0]!.bytes.equals(sent))
  assert.equal(sent.length, 10_000_000)
})

test('a parser that refuses a value of a batch spoils no later result', async () => {
  await using attached = open()
  const { manager } = attached
  const refuse = (text: string): string => {
    if (text === 'bad') throw new Error('refused')
    return text
  }
  const types = { getTypeParser: () => refuse } as never
  const batch = (value: string): Promise<unknown> =>
    manager.batch([{ text: 'SELECT $1::text AS a', values: [value], types }, 'SELECT 1 AS b'])
  // Until the columns are described once and for all, and then only referred to.
  for (const value of ['x', 'x', 'bad', 'x', 'bad']) {
    const settled = await outcome(batch(value))
    assert.equal(settled.status, value === 'bad' ? 'rejected' : 'fulfilled')
  }
  for (let n = 0; n < 3; n++) assert.deepEqual((await manager.query('SELECT 1 AS b')).rows, [{ b: 1 }])
})

test('a submittable cannot cross threads, and is told so', async () => {
  await using attached = open()
  await attached.manager.use((connection) => {
    assert.throws(() => connection.query(new Cursor('SELECT 1')), /cannot cross threads/)
  })
})

// ---- its own end and figures

test('end() refuses new work, serves who waits, and is idempotent', async () => {
  await using attached = open()
  const { manager, owner } = attached
  const subscription = await manager.listen('ending')
  const reading = subscription[Symbol.asyncIterator]().next()
  const gate = createGate()
  const holder = manager.use(() => gate.opened)
  const waiting = manager.query('SELECT 1 AS one')
  await until(() => owner.stats.waiting === 1, { what: 'one to wait' })
  const ended = Promise.all([manager.end(), manager.end()])
  await caught(
    manager.use(() => {}),
    ManagerEndedError,
  )
  await caught(manager.query('SELECT 1'), ManagerEndedError)
  await caught(manager.tryAcquire(), ManagerEndedError)
  gate.open()
  await holder
  assert.equal((await waiting).rows[0].one, 1)
  await within(ended, 'the end')
  assert.deepEqual(await reading, { done: true, value: undefined })
  assert.equal(manager.closed, true)
  assert.equal(manager.status, null)
})

test('end() inside a callback is refused', async () => {
  await using attached = open()
  const { manager } = attached
  await manager.use(() => caught(manager.end(), ReentrantAcquireError))
  await serves(manager)
})

test('figures are frozen snapshots', async () => {
  await using attached = open()
  const { manager, owner } = attached
  const gate = createGate()
  const holder = manager.use(() => gate.opened)
  const waiting = manager.use(() => {})
  await until(() => manager.stats.waiting === 1, { what: 'one to wait' })
  const { stats } = manager
  assert.ok(Object.isFrozen(stats))
  assert.deepEqual(Object.keys(stats).sort(), Object.keys(owner.stats).sort())
  assert.equal(stats.held, true)
  assert.equal(typeof stats.heldMillis, 'number')
  assert.equal(stats.processID, owner.stats.processID)
  assert.equal(stats.connects, 1)
  gate.open()
  await Promise.all([holder, waiting])
  await until(() => manager.stats.releases === 2, { what: 'the releases' })
  assert.equal(manager.stats.held, false)
  assert.equal(manager.stats.heldMillis, null)
  const { connectedMillis: _mine, ...mine } = manager.stats
  const { connectedMillis: _owners, ...owners } = owner.stats
  assert.deepEqual(mine, owners)
})
