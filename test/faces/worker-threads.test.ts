/** Threads that are threads: how they come, wait, end and die, and what becomes of what they had under way. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { Worker, receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import pg from 'pg'
import {
  AcquireTimeoutError,
  ConnectError,
  ConnectionLostError,
  HoldTimeoutError,
  ManagedConnection,
  ManagerEndedError,
  type HoldWarningEvent,
  type RollbackEvent,
} from 'pg-managed-connection'
import { attach, share } from 'pg-managed-connection/worker'
import { caught, createGate, outcome, reason, settle } from '../support/caught.js'
import { killWorkers } from '../support/faults/kill-workers.js'
import { openProxied } from '../support/proxied.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'
import { Puppet } from '../support/worker/puppet.js'

const { test, database } = await openSuite()
await database.admin.query('CREATE TABLE t (id int)')

const SLEEP = 'SELECT pg_sleep(30)'

function open(options = {}): ManagedConnection {
  return new ManagedConnection(database.conninfo, options)
}

/** Waits until a statement of the manager's is being carried out. */
async function sleeps(): Promise<boolean> {
  const sessions = await database.admin.activity()
  return sessions.some(({ state, query }) => state === 'active' && query.includes('pg_sleep'))
}

async function running(): Promise<void> {
  await until(sleeps, { what: 'the statement to run' })
}

test('workers and the owner stand in one line, strictly in order of asking', async () => {
  await using manager = open()
  await using one = await Puppet.start(manager)
  await using two = await Puppet.start(manager)
  await manager.query('CREATE TEMP TABLE served (n serial, who text)')
  const insert = (who: string): string => `INSERT INTO served (who) VALUES ('${who}')`
  const gate = createGate()
  const holder = manager.use(() => gate.opened)
  await until(() => manager.stats.held, { what: 'the holder' })
  const asked: Promise<unknown>[] = []
  const order = ['one', 'owner', 'two', 'two', 'owner', 'one', 'one', 'two']
  for (const [n, who] of order.entries()) {
    const puppet = who === 'one' ? one : two
    asked.push(
      who === 'owner'
        ? manager.transaction((connection) => connection.query(insert(who)))
        : puppet.ask('transaction', { texts: [insert(who)] }),
    )
    await until(() => manager.stats.waiting === n + 1, { what: 'it to stand in line' })
  }
  gate.open()
  await holder
  await Promise.all(asked)
  const { rows } = await manager.query<{ who: string }>('SELECT who FROM served ORDER BY n')
  assert.deepEqual(
    rows.map(({ who }) => who),
    order,
  )
})

for (const how of ['exit', 'throw', 'terminate', 'close'] as const) {
  test(`a worker that ends (${how}) gives its turn back, rolled back, and nobody waits for it`, async () => {
    await using manager = open()
    const rollbacks: RollbackEvent[] = []
    manager.on('rollback', (event) => void rollbacks.push(event))
    await using puppet = await Puppet.start(manager)
    await puppet.ask('hold', { texts: ['INSERT INTO t VALUES (1)'] })
    const waiting = puppet.ask('use').catch(() => {})
    const next = manager.query('SELECT count(*)::int AS n FROM t')
    await until(() => manager.stats.waiting === 2, { what: 'two to wait' })
    await puppet.end(how)
    const { rows } = await within(next, 'the next in line')
    assert.equal(rows[0].n, 0)
    assert.deepEqual(rollbacks, [
      { reason: 'holder gone', label: null, statement: 'INSERT INTO t VALUES (1)' },
    ])
    assert.equal(manager.stats.waiting, 0)
    assert.equal(manager.stats.connects, 1)
    await waiting
  })
}

for (const verb of ['hold', 'autocommit', 'one-shot', 'stream'] as const) {
  test(`what a dead worker has running is cancelled (${verb}), and the connection stays`, async () => {
    await using manager = open()
    await manager.query('SELECT 1')
    await using puppet = await Puppet.start(manager)
    void puppet.ask(verb, { texts: [SLEEP] }).catch(() => {})
    await running()
    // A one-shot is cancelled where nobody's is behind it in the pipeline already.
    const waiting = verb === 'one-shot' ? null : manager.query('SELECT 1 AS one')
    await puppet.end('terminate')
    await until(async () => !(await sleeps()), { what: 'the statement to be cancelled' })
    const next = waiting ?? manager.query('SELECT 1 AS one')
    assert.deepEqual((await within(next, 'the next')).rows, [{ one: 1 }])
    assert.equal(manager.stats.connects, 1)
  })
}

test('a stream that a dead worker was reading is closed', async () => {
  await using manager = open()
  await using puppet = await Puppet.start(manager)
  await puppet.ask('stream', { texts: ['SELECT generate_series(1, 100000)'] })
  await puppet.end('terminate')
  const { rows } = await within(manager.query('SELECT 1 AS one'), 'the next')
  assert.deepEqual(rows, [{ one: 1 }])
  assert.equal(manager.stats.connects, 1)
})

test("a dead worker's waiting one-shots leave the line", async () => {
  await using manager = open()
  await using puppet = await Puppet.start(manager)
  const gate = createGate()
  const holder = manager.use(() => gate.opened)
  await until(() => manager.stats.held, { what: 'the holder' })
  void puppet.ask('one-shot', { texts: ['INSERT INTO t VALUES (7)'] }).catch(() => {})
  await until(() => manager.stats.waiting === 1, { what: 'it to wait' })
  await puppet.end('terminate')
  await until(() => manager.stats.waiting === 0, { what: 'it to leave' })
  gate.open()
  await holder
  assert.deepEqual((await manager.query('SELECT 1 FROM t WHERE id = 7')).rows, [])
})

test('a worker that is stuck loses its turn after maxHoldMillis, and hears of it when it wakes', async () => {
  await using manager = open({ maxHoldMillis: 150 })
  await using puppet = await Puppet.start(manager)
  const stuck = puppet.ask('block', { texts: ['INSERT INTO t VALUES (2)'], millis: 10_000 })
  await until(() => manager.stats.held, { what: 'the worker to hold' })
  const counted = manager.query('SELECT count(*)::int AS n FROM t WHERE id = 2')
  const { rows } = await within(counted, 'the owner, who is not to wait for the worker', 5_000)
  assert.equal(rows[0].n, 0)
  puppet.wake()
  const error = await caught(stuck, HoldTimeoutError)
  assert.equal(error.maxHoldMillis, 150)
})

test("end() on the owner ends the workers' managers with a clear error", async () => {
  const manager = open()
  await using puppet = await Puppet.start(manager)
  await puppet.ask('use')
  await puppet.ask('listen')
  await manager.end()
  const error = await caught(puppet.ask('use'), ManagerEndedError)
  assert.match(error.message, /the thread that owns the connection has ended its manager/)
  assert.deepEqual(await puppet.ask('look'), { closed: true, status: null })
  assert.equal(await puppet.ask('heard'), 'the end')
  assert.throws(() => share(manager), ManagerEndedError)
})

test('end() on the owner waits for those of workers who stand in line', async () => {
  const manager = open()
  await using puppet = await Puppet.start(manager)
  const served = puppet.ask('use')
  await until(() => manager.stats.acquires > 0, { what: 'the turn' })
  await manager.end()
  assert.equal(await served, 'used')
})

test('end() in a worker detaches it alone', async () => {
  await using manager = open()
  await using one = await Puppet.start(manager)
  await using two = await Puppet.start(manager)
  await one.ask('use')
  await one.ask('end')
  await caught(one.ask('use'), ManagerEndedError)
  assert.equal(await two.ask('use'), 'used')
  assert.equal((await manager.query('SELECT 1 AS one')).rows[0].one, 1)
})

test('an idle port keeps neither thread alive', async () => {
  const worker = new Worker(new URL('../support/worker/idle-owner.js', import.meta.url), {
    workerData: { conninfo: database.conninfo },
  })
  const [code] = (await within(once(worker, 'exit'), 'both threads to end by themselves')) as [number]
  assert.equal(code, 0)
})

test('a wait keeps a worker alive until it is over', async () => {
  await using manager = open()
  const gate = createGate()
  const holder = manager.use(() => gate.opened)
  await using puppet = await Puppet.start(manager, { leaves: true })
  const exited = once(puppet.worker, 'exit')
  await sleep(50)
  assert.equal(await Promise.race([exited, Promise.resolve('alive')]), 'alive')
  gate.open()
  await holder
  await within(exited, 'the worker to end by itself')
})

/** Structured clones keep holes, which most ways of looking at a list pass over. */
function withHole(value: unknown): unknown[] {
  const list = new Array<unknown>(2)
  list[1] = value
  return list
}

/** A statement as a worker sends it. */
function wired(text: unknown, values: unknown = null, name: unknown = null): unknown[] {
  return [text, values, name, false, false, 0, false]
}

const TERMS = [false, 'BEGIN', false, null, null]
const ASK = ['ask', 900, 'wait', TERMS, 10_000, null, null]
const LISTEN = ['listen', 900, 'channel', 10, 10_000]
const LEAD = ['lead', 900, 'jobs', 1_000]

const batchOf = (...statements: unknown[]): unknown[] => [
  ['batch', 900, statements, null, 10_000, false, null, null, null],
]

const NONSENSE: readonly unknown[] = [
  'a text',
  { entries: [] },
  [null],
  [[]],
  [['__proto__', 1]],
  [['leave', 1]],
  [['commit', 1, -1]],
  [['ask', 900, 'own', TERMS, 10_000, null, null]],
  [['ask', 900, 'wait', TERMS, 'soon', null, null]],
  [['ask', 900, 'wait', [false, 'DROP TABLE t', false, null, null], 10_000, null, null]],
  [['ask', 900, 'wait', [false, 'BEGIN', true, [true], null], 10_000, null, null]],
  [['ask', 900, 'wait', [false, 'BEGIN', true, [false, { table: 'receipts' }], null], 10_000, null, null]],
  [['ask', 900, 'wait', [false, 'BEGIN', true, null, [[['role', 'x']], null]], 10_000, null, null]],
  [['ask', 900, 'wait', [false, 'BEGIN', true, null, [[['App.a', 'x']], null]], 10_000, null, null]],
  [['query', 900, wired('SELECT 1'), 10_000, null, [[['app.a', 1]], null]]],
  [['query', 900, wired('SELECT $1', [{}]), 10_000, null, null]],
  [['query', 900, wired('SELECT 1', null, { callback: 'me' }), 10_000, null, null]],
  [['query', 900, wired('SELECT 1\0'), 10_000, null, null]],
  [['query', 900, wired('SELECT 1', new Array(65_536).fill('1')), 10_000, null, null]],
  [ASK, ASK],
  [ASK, ['begun', 900]],
  [LISTEN, LISTEN],
  [['listen', 900, '', 10, 10_000]],
  [LEAD, LEAD],
  [['lead', 900, '', 1_000]],
  [['lead', 900, 'jobs', 0]],
  [['lead', 900, 'jobs', Infinity]],
  [['stepDown', 901]],
  batchOf(),
  batchOf(wired('SELECT 1'), wired('COMMIT')),
  batchOf(wired('COPY t FROM STDIN')),
  [['batch', 900, withHole(wired('SELECT 1')), null, 10_000, false, null, null, null]],
  [['query', 900, wired('SELECT $1, $2', withHole('value')), 10_000, null, null]],
  new Map([['commit', 1]]),
]

test('what is sent as nonsense is so for its one fault', async () => {
  await using manager = open()
  const errors: Error[] = []
  manager.on('error', (error) => void errors.push(error))
  const port = share(manager)
  const remote = attach(port)
  port.postMessage([LISTEN, ['query', 901, wired('SELECT $1', ['1'], 'name'), 10_000, null, null]])
  port.postMessage([
    ['batch', 902, [wired('SELECT 1'), wired('SELECT 2')], null, 10_000, false, null, null, null],
  ])
  port.postMessage([
    ['lead', 903, 'jobs', 1_000],
    ['stepDown', 904, 905],
  ])
  port.postMessage([ASK])
  await until(() => manager.stats.held, { what: 'the lease' })
  assert.deepEqual(errors, [])
  await remote.end({ timeoutMillis: 0 })
})

for (const nonsense of NONSENSE) {
  test(`nonsense closes its port with an error event, and gives its turn back: ${JSON.stringify(nonsense).slice(0, 120)}`, async () => {
    await using manager = open()
    const errors: Error[] = []
    manager.on('error', (error) => void errors.push(error))
    const port = share(manager)
    const remote = attach(port)
    const holder = remote.transaction(async (connection) => {
      await connection.query('INSERT INTO t VALUES (3)')
      port.postMessage(nonsense)
      await connection.query('SELECT 1').catch(() => {})
    })
    const error = await caught(holder, ConnectionLostError)
    assert.match(String(error.cause), /no list|makes no sense/)
    await caught(remote.query('SELECT 1'), ManagerEndedError)
    assert.deepEqual((await manager.query('SELECT 1 FROM t WHERE id = 3')).rows, [])
    assert.equal(errors.length, 1)
    assert.match(errors[0]!.message, /port/)
  })
}

test('nonsense is harmless where nobody listens for errors', async () => {
  await using manager = open()
  const port = share(manager)
  port.on('message', () => {})
  port.postMessage('nonsense')
  await within(once(port, 'close'), 'the port to close')
  assert.equal((await manager.query('SELECT 1 AS one')).rows[0].one, 1)
})

test('share and attach refuse what is not theirs', async () => {
  await using manager = open()
  assert.throws(() => share({} as never), TypeError)
  assert.throws(() => attach({} as never), TypeError)
  const { port1, port2 } = new MessageChannel()
  assert.throws(() => attach(port1 as unknown as MessagePort), /share\(\)/)
  port1.close()
  port2.close()
  const port = share(manager)
  const remote = attach(port)
  assert.throws(() => attach(port), TypeError)
  let answered = false
  const asked = remote.query('SELECT 1 AS one').finally(() => (answered = true))
  // At some time the answer has arrived and was not heard yet.
  for (let n = 0; n < 10_000 && !answered; n++) {
    assert.throws(() => attach(port), TypeError)
    await nextTurn()
  }
  assert.deepEqual((await within(asked, 'the answer')).rows, [{ one: 1 }])
  assert.throws(() => attach(port, { types: {} as never }), TypeError)
  await remote.end()
})

test("a callback's own error is told, whatever becomes of the port", async () => {
  await using manager = open()
  const port = share(manager)
  const remote = attach(port)
  const own = new Error('own')
  const holder = remote.use(() => {
    port.postMessage('nonsense')
    throw own
  })
  assert.equal(await within(reason(holder), 'the error'), own)
})

test('an answer that cannot be packed is the error of its query alone', async () => {
  await using manager = open()
  const remote = attach(share(manager))
  const deep = `SELECT (repeat('[', 5000) || repeat(']', 5000))::json AS deep`
  const asked = await within(outcome(remote.query(deep)), 'the answer')
  if (asked.status === 'rejected') assert.ok(asked.reason instanceof RangeError)
  const hostile = Object.assign(new Error('set-up failed'), {
    odd: Object.assign(Object.create(null) as object, { f: () => {} }),
  })
  await using failing = open({ onConnect: () => Promise.reject(hostile) })
  const there = attach(share(failing))
  await within(caught(there.query('SELECT 1'), ConnectError), 'the error of the query')
  await within(
    caught(
      there.use(() => {}),
      ConnectError,
    ),
    'the error of the turn',
  )
  await Promise.all([remote.end(), there.end()])
})

test('a turn that is granted and taken back while its worker computes is over', async () => {
  await using manager = open({ maxHoldMillis: 50 })
  await manager.query('SELECT 1')
  await using puppet = await Puppet.start(manager)
  assert.equal(await puppet.ask('use'), 'used')
  // The worker hears of neither before the owner has told it both.
  manager.once('acquire', () => manager.once('release', () => setImmediate(() => puppet.wake())))
  await within(caught(puppet.ask('busy use'), HoldTimeoutError), 'the use')
  assert.equal(await manager.use(() => 'served'), 'served')
})

test('a handle that is taken back from its worker starts nobody when it is released at last', async () => {
  await using manager = open({ maxHoldMillis: 100 })
  const remote = attach(share(manager))
  await remote.query('SELECT 1')
  const handle = await remote.acquire()
  const first = createGate()
  const log: string[] = []
  const run = (name: string, over: Promise<void>): Promise<void> =>
    remote.use(async () => {
      log.push(`${name} begins`)
      await over
      log.push(`${name} ends`)
    })
  const done = Promise.allSettled([run('one', first.opened), run('two', Promise.resolve())])
  await until(() => log.length === 1, { what: 'the first to begin' })
  await caught(handle.release(), HoldTimeoutError)
  await settle()
  first.open()
  await done
  assert.deepEqual(log, ['one begins', 'one ends', 'two begins', 'two ends'])
  await remote.end()
})

test('a turn whose time passes is started or refused, and never both', async () => {
  await using manager = open({ acquireTimeoutMillis: 80 })
  const remote = attach(share(manager))
  await remote.use(() => {}, { timeoutMillis: 30_000 })
  let started = 0
  let refused = 0
  const one = async (n: number): Promise<void> => {
    let ran = false
    const settled = await outcome(
      remote.transaction(async (connection) => {
        ran = true
        started++
        await connection.query('SELECT 1')
        await sleep(n % 7)
      }),
    )
    if (settled.status === 'fulfilled') return assert.ok(ran)
    assert.ok(settled.reason instanceof AcquireTimeoutError, String(settled.reason))
    assert.equal(settled.reason.timeoutMillis, 80)
    assert.equal(ran, false, 'refused after it had been started')
    refused++
  }
  for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 40 }, (_, n) => one(n)))
  assert.ok(started > 0 && refused > 0, `${started} started, ${refused} refused`)
  assert.equal(manager.stats.timeouts, refused)
  await remote.end()
})

test('a turn that was started ahead and then got no connection has lost it', async () => {
  await using proxied = await openProxied(database, { reconnectTimeoutMillis: 0 })
  const { manager, proxy } = proxied
  const remote = attach(share(manager))
  const asked = createGate()
  const lost = createGate()
  let answered = false
  let begun = false
  const first = remote.use(
    async (connection) => {
      await asked.opened
      // With its answer the worker hears who is next.
      await connection.query('SELECT 1')
      answered = true
      await lost.opened
    },
    { autocommit: true },
  )
  const second = remote.use(async (connection) => {
    begun = true
    await connection.query('SELECT 1')
  })
  const lostSecond = caught(second, ConnectionLostError)
  await until(() => manager.stats.held && manager.stats.waiting === 1, { what: 'the second to wait' })
  asked.open()
  await until(() => answered, { what: 'the answer' })
  await settle()
  proxy.close()
  await until(() => manager.closed, { what: 'the loss' })
  lost.open()
  await first
  const error = await lostSecond
  assert.ok(error.cause instanceof ConnectError)
  assert.equal(begun, true)
  assert.equal(error.commitOutcome, 'none')
  assert.equal(error.retrySafe, true)
  await remote.end()
})

test('a turn that is started ahead does not overtake one of the owner', async () => {
  await using manager = open()
  const remote = attach(share(manager))
  const order: string[] = []
  const gate = createGate()
  const first = remote.use(() => gate.opened)
  await until(() => manager.stats.held, { what: 'the holder' })
  const asked: Promise<void>[] = []
  for (const [n, name] of ['a', 'b', 'c', 'owner', 'd', 'e'].entries()) {
    const work = (): void => void order.push(name)
    asked.push(name === 'owner' ? manager.use(work) : remote.use(work))
    await until(() => manager.stats.waiting === n + 1, { what: 'it to stand in line' })
  }
  gate.open()
  await Promise.all([first, ...asked])
  assert.deepEqual(order, ['a', 'b', 'c', 'owner', 'd', 'e'])
  await remote.end()
})

test('a worker parses what its queries give, whatever the owner parses with', async () => {
  await using manager = open()
  await using puppet = await Puppet.start(manager)
  const before = pg.types.getTypeParser(pg.types.builtins.NUMERIC)
  pg.types.setTypeParser(pg.types.builtins.NUMERIC, () => assert.fail('the owner parses nothing'))
  try {
    const text = 'SELECT 12.50::numeric AS n, 1 AS i'
    assert.deepEqual(await puppet.ask('values', { texts: [text] }), ['string 12.50', 'number 1'])
    await puppet.ask('set parser')
    assert.deepEqual(await puppet.ask('values', { texts: [text] }), ['Money 12.50', 'number 1'])
    assert.deepEqual(await puppet.ask('streamed', { texts: [text] }), ['Money 12.50', 'number 1'])
  } finally {
    pg.types.setTypeParser(pg.types.builtins.NUMERIC, before)
  }
})

test('parsers given to attach come before those of the thread, and those of a query before both', async () => {
  await using manager = open()
  const typesOf = (mark: string): never =>
    ({ getTypeParser: (oid: number) => (text: string) => `${mark} ${oid} ${text}` }) as never
  const remote = attach(share(manager), { types: typesOf('attach') })
  const text = "SELECT 'x' AS a, NULL AS b"
  assert.deepEqual((await remote.query(text)).rows, [{ a: 'attach 25 x', b: null }])
  const own = await remote.query({ text, types: typesOf('query') })
  assert.deepEqual(own.rows, [{ a: 'query 25 x', b: null }])
  await remote.end()
})

test('a buffer that was sent as a value stays whole, and one that comes is not shared', async () => {
  await using manager = open()
  const remote = attach(share(manager))
  const large = Buffer.alloc(100_000, 1)
  const slice = large.subarray(10, 90_000)
  for (const sent of [large, slice, new Uint8Array(0)]) {
    const { rows } = await remote.query<{ b: Buffer }>('SELECT $1::bytea AS b', [sent])
    assert.ok(Buffer.isBuffer(rows[0]!.b))
    assert.ok(rows[0]!.b.equals(sent))
  }
  assert.equal(large.byteLength, 100_000)
  await remote.end()
})

test('a warning about a long hold names the place in the worker', async () => {
  await using manager = open({ holdWarningMillis: 50 })
  const warnings: HoldWarningEvent[] = []
  manager.on('holdWarning', (event) => void warnings.push(event))
  await using puppet = await Puppet.start(manager)
  await puppet.ask('block', { texts: ['SELECT 1'], millis: 200 })
  await until(() => warnings.length > 0, { what: 'the warning' })
  assert.match(warnings[0]!.stack ?? '', /puppet-thread/)
})

test('nothing is left on the manager when its workers are gone', async () => {
  await using manager = open()
  const before = ['connect', 'disconnect'].map((event) => manager.listenerCount(event as 'connect'))
  const puppets = await Promise.all([Puppet.start(manager), Puppet.start(manager)])
  await Promise.all(puppets.map((puppet) => puppet.ask('use')))
  await puppets[0]!.end('terminate')
  await puppets[1]!.end('exit')
  const listeners = (): boolean =>
    ['connect', 'disconnect'].every((event, n) => manager.listenerCount(event as 'connect') === before[n])
  await until(listeners, { what: 'the listeners to go' })
})

test('workers that are killed at random moments leave the table right', { timeout: 300_000 }, async (t) => {
  const seed = Date.now() % 1_000_000
  t.diagnostic(`seed ${seed}`)
  const report = await killWorkers(database, { kills: 40, seed })
  assert.deepEqual(report.wrong, [])
  assert.ok(report.stored > 0)
})

test('a worker that says a great deal at once does not hold the owner’s thread up', async () => {
  await using manager = open()
  const port = share(manager)
  const flood = Array.from({ length: 200_000 }, () => ['look'])
  let turns = 0
  const counting = setInterval(() => turns++, 1)
  const own = attach(port)
  port.postMessage(flood)
  // Each step of a timer is a moment at which others could run.
  await own.query('SELECT 1')
  clearInterval(counting)
  await own.end()
  assert.ok(turns > 5, String(turns))
})

test('what one worker writes over its figures, no other reads', async () => {
  await using manager = open()
  await manager.query('SELECT 1')
  const port = share(manager)
  const { message: hello } = receiveMessageOnPort(port) as { message: { stats: SharedArrayBuffer } }
  new Int32Array(hello.stats, 0, 1).fill(1)
  new Float64Array(hello.stats, 8).fill(77)
  const other = attach(share(manager))
  assert.equal(other.stats.waiting, 0)
  assert.equal(other.stats.processID, manager.stats.processID)
  await other.end()
  port.close()
})

test('a lease is taken back once, though its worker is gone and its time is over', async () => {
  await using proxied = await openProxied(database, { maxHoldMillis: 300, releaseGraceMillis: 600 })
  const { manager, proxy } = proxied
  const remote = attach(share(manager))
  const held = remote.use((connection) => connection.query('SELECT pg_sleep(30)'))
  await until(() => manager.stats.inFlight > 0, { what: 'the statement' })
  await settle()
  proxy.pause()
  // Gone: its statement is cancelled, and waited for in vain; meanwhile its time is over, too.
  const gone = caught(held, ConnectionLostError)
  await remote.end({ timeoutMillis: 1 })
  await gone
  await until(() => manager.closed, { what: 'the connection to be given up' })
  proxy.resume()
  assert.deepEqual((await manager.query('SELECT 1 AS one')).rows, [{ one: 1 }])
})
