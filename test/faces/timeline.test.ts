/** What a timeline records of a manager, and that its page and its trace events tell it truly and safely. */
import assert from 'node:assert/strict'
import { tracingChannel } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { ConnectionLostError, ManagedConnection, UncommittedTransactionError } from 'pg-managed-connection'
import { record } from 'pg-managed-connection/timeline'
import { share } from 'pg-managed-connection/worker'
import { caught, reason } from '../support/caught.js'
import { openConnected, type Proxied } from '../support/proxied.js'
import { openSuite } from '../support/suite.js'
import { assertNested, itemsOf, readPage, storyOf, threadsOf } from '../support/timeline/pages.js'
import { until, within } from '../support/wait.js'
import type { ManagedConnectionOptions } from 'pg-managed-connection'
import type { Timeline } from 'pg-managed-connection/timeline'

const { test, database } = await openSuite()

/** One that is connected, so that nothing of that is recorded. */
async function connected(options: ManagedConnectionOptions = {}): Promise<ManagedConnection> {
  const manager = new ManagedConnection(database.conninfo, options)
  await manager.query('SELECT 1')
  return manager
}

/** What happened in a turn, the innermost last. */
const TURN = ['connection', 'wait', 'hold', 'transaction', 'statement']

test('a transaction is recorded as a wait, a turn, itself and its statements, each inside of the other', async () => {
  await using manager = await connected()
  using timeline = record(manager)
  await manager.transaction((connection) => connection.query('SELECT generate_series(1, 3)'), {
    label: 'import',
  })
  assert.deepEqual(storyOf(timeline).toSorted(), TURN.toSorted())
  const items = itemsOf(timeline)
  const find = (kind: string) => items.find((item) => item.kind === kind)!
  assert.deepEqual(
    ['wait', 'hold', 'transaction', 'statement'].map((kind) => find(kind).label),
    ['import', 'import', 'import', 'import'],
  )
  assert.equal(find('transaction').facts['outcome'], 'committed')
  assert.deepEqual(find('statement').facts, { command: 'SELECT', rows: 3 })
  assert.equal(find('connection').facts['process'], manager.stats.processID)
  assert.ok(find('connection').goesOn)
  assertNested(timeline)
  const turn = threadsOf(timeline).find((events) => events.some(({ cat }) => cat === 'hold'))!
  assert.deepEqual(turn.map(({ cat }) => cat).slice(0, 4), ['wait', 'hold', 'transaction', 'statement'])
})

test('nested transactions lie in each other, and statements side by side have rows of their own', async () => {
  await using manager = await connected()
  using timeline = record(manager)
  await manager.transaction(async (connection) => {
    await connection.query('SELECT 0')
    await connection.transaction((nested) => nested.query('SELECT 1'))
    await Promise.all([0.02, 0.01, 0.01].map((seconds) => connection.query('SELECT pg_sleep($1)', [seconds])))
  })
  assert.deepEqual(
    itemsOf(timeline)
      .filter(({ kind }) => kind === 'transaction')
      .map(({ title }) => title),
    ['transaction', 'nested transaction'],
  )
  const [lane] = readPage(timeline.toHTML()).lanes.filter(({ kind }) => kind === 'tasks')
  assert.equal(lane!.rows.length, 3)
  assertNested(timeline)
})

test('tasks are put in lanes by their labels, and others in as few rows as do not overlap', async () => {
  await using manager = await connected()
  using timeline = record(manager)
  const work = (label?: string) => manager.use(() => sleep(5), { label })
  await Promise.all([work('a'), work('b'), work('a'), work(), work()])
  await Promise.all([work(), work(), manager.query('SELECT 1')])
  assert.deepEqual(
    readPage(timeline.toHTML()).lanes.map(({ kind, name, rows }) => [kind, name, rows.length]),
    [
      ['connection', 'the connection', 1],
      ['label', 'a', 2],
      ['label', 'b', 1],
      ['tasks', 'tasks without a label', 2],
      ['one-shots', 'one-shots and batches', 1],
    ],
  )
  assertNested(timeline)
})

test('a turn that leaves its transaction open is marked as a leak, once, and so is its rollback', async () => {
  await using manager = await connected()
  using timeline = record(manager)
  await caught(
    manager.use((connection) => connection.query('SELECT 1')),
    UncommittedTransactionError,
  )
  const marked = itemsOf(timeline).filter(({ mark }) => mark !== null)
  assert.deepEqual(marked.map(({ kind, mark }) => [kind, mark]).toSorted(), [
    ['event', 'leak'],
    ['transaction', 'leak'],
  ])
  assert.equal(marked.find(({ kind }) => kind === 'transaction')!.failed!.code, 'ERR_UNCOMMITTED_TRANSACTION')
  assert.equal(marked.find(({ kind }) => kind === 'event')!.facts['opened by'], 'SELECT 1')
})

test('time limits that ran out are marked: of waiting, of holding and of a statement', async () => {
  await using manager = await connected({ maxHoldMillis: 1_000 })
  using timeline = record(manager)
  const held = manager.use(() => sleep(60))
  await reason(manager.use(() => {}, { timeoutMillis: 20 }))
  await held
  await reason(
    manager.use((connection) => connection.query({ text: 'SELECT pg_sleep(5)', timeoutMillis: 30 })),
  )
  await reason(manager.use((connection) => connection.query('SELECT pg_sleep(6)')))
  await until(() => itemsOf(timeline).every(({ kind, goesOn }) => kind === 'connection' || !goesOn), {
    what: 'everything to be over',
  })
  const marked = itemsOf(timeline).filter(({ mark, kind }) => mark === 'timeout' && kind !== 'event')
  assert.deepEqual(
    marked.map(({ failed }) => failed!.code),
    ['ERR_ACQUIRE_TIMEOUT', 'ERR_STATEMENT_TIMEOUT', 'ERR_HOLD_TIMEOUT'],
  )
  assertNested(timeline)
})

test('what was aborted, and what the server cancelled, is marked as cancelled', async () => {
  await using manager = await connected()
  using timeline = record(manager)
  const controller = new AbortController()
  const { signal } = controller
  const aborted = manager.query({ text: 'SELECT pg_sleep(5)', signal })
  await sleep(30)
  controller.abort()
  await reason(aborted)
  // It may be rejected before the one who cancels it hears of that.
  const cancelled = reason(manager.query('SELECT pg_sleep(6)'))
  const { admin } = database
  const runs = async (): Promise<boolean> =>
    (await admin.activity()).some(({ state, query }) => state === 'active' && query.includes('(6)'))
  await until(runs, { what: 'it to run' })
  await admin.cancel(manager.stats.processID!)
  await cancelled
  assert.deepEqual(storyOf(timeline), ['connection', 'statement: cancel', 'statement: cancel'])
})

test('a connection that is lost, and the one after it, are recorded with their processes', async () => {
  await using manager = await connected()
  using timeline = record(manager)
  const first = manager.stats.processID
  const lost = manager.use(async (connection) => {
    await connection.query('SELECT 1')
    await database.admin.terminate(first!)
    await connection.query('SELECT 2')
  })
  await caught(lost, ConnectionLostError)
  await manager.query('SELECT 3')
  const items = itemsOf(timeline)
  const connections = items.filter(({ kind }) => kind === 'connection')
  assert.deepEqual(
    connections.map(({ facts, mark, goesOn }) => [facts['process'], mark, goesOn]),
    [
      [first, null, false],
      [manager.stats.processID, 'reopened', true],
    ],
  )
  assert.deepEqual(
    items.filter(({ kind }) => kind === 'opening').map(({ title }) => title),
    ['opening again'],
  )
  assert.equal(items.find(({ kind }) => kind === 'event')!.mark, 'lost')
  assert.ok(items.some(({ kind, mark }) => kind !== 'event' && mark === 'lost'))
  assertNested(timeline)
})

/** Has a statement sent to a server process that has gone, so that it is sent again on the next connection. */
async function sendTwice({ manager, proxy, recording }: Proxied, text: string): Promise<void> {
  proxy.pause('toClient')
  await database.admin.terminate(manager.stats.processID!)
  const replayed = manager.transaction((connection) => connection.query(text))
  await until(() => recording.sent().length > 0, { what: 'it to be sent' })
  proxy.resume()
  await within(replayed, 'the replay')
}

test('a statement that was sent again on the next connection is marked as replayed', async () => {
  await using wire = await openConnected(database)
  using timeline = record(wire.manager)
  await sendTwice(wire, 'SELECT 7 AS n')
  const [statement] = itemsOf(timeline).filter(({ kind }) => kind === 'statement')
  assert.deepEqual([statement!.title, statement!.mark, statement!.failed], ['SELECT 7 AS n', 'replay', null])
})

test('a connection is over when the next one is being opened, though its loss is told a moment later', async () => {
  await using wire = await openConnected(database)
  using timeline = record(wire.manager)
  const { start } = tracingChannel('pg-managed-connection:connect')
  // So that the moment is one that is seen.
  const dawdle = (): void => {
    const end = performance.now() + 3
    while (performance.now() < end);
  }
  start.subscribe(dawdle)
  try {
    await sendTwice(wire, 'SELECT 7')
  } finally {
    start.unsubscribe(dawdle)
  }
  const lasting = itemsOf(timeline).filter(({ kind }) => kind === 'connection' || kind === 'opening')
  const [before, opening] = lasting
  assert.deepEqual(
    lasting.map(({ title }) => title),
    ['open', 'opening again', 'open'],
  )
  assert.ok(before!.end! <= opening!.start, `${before!.end} is later than ${opening!.start}`)
})

test('a connection that was taken back from its holder is told as that', async () => {
  await using manager = await connected({ maxHoldMillis: 30 })
  using timeline = record(manager)
  await reason(manager.use(() => sleep(200), { label: 'keeper' }))
  await until(() => itemsOf(timeline).some(({ mark }) => mark === 'long'), { what: 'it to be told' })
  const told = itemsOf(timeline).filter(({ mark }) => mark === 'long')
  assert.deepEqual(
    told.map(({ kind, title, label }) => [kind, title, label]),
    [['event', 'taken back', 'keeper']],
  )
})

test('a holder that keeps the connection is told of, and when it has returned it', async () => {
  await using manager = await connected({ holdWarningMillis: 20 })
  using timeline = record(manager)
  await manager.use(() => sleep(60), { label: 'keeper' })
  await until(() => itemsOf(timeline).filter(({ mark }) => mark === 'long').length === 2, {
    what: 'both to be told',
  })
  const told = itemsOf(timeline).filter(({ mark }) => mark === 'long')
  assert.deepEqual(
    told.map(({ kind, title, label }) => [kind, title, label]),
    [
      ['event', 'held for long', 'keeper'],
      ['event', 'returned after all', 'keeper'],
    ],
  )
  const { traceEvents } = timeline.toTraceEvents()
  assert.deepEqual(
    traceEvents.filter(({ ph }) => ph === 'i').map(({ name }) => name),
    ['held for long', 'returned after all'],
  )
})

test('one-shots and batches have a lane of their own, with their time in line', async () => {
  await using manager = await connected()
  using timeline = record(manager)
  const held = manager.use(() => sleep(30))
  await Promise.all([
    held,
    manager.query('SELECT 1'),
    manager.query({ text: 'SELECT 2', label: 'look' }),
    manager.batch(['SELECT 3', 'SELECT generate_series(1, 4)']),
  ])
  const { lanes, items } = readPage(timeline.toHTML())
  const lane = lanes.find(({ kind }) => kind === 'one-shots')!
  assert.equal(lane.rows.length, 3)
  const batch = items.find(({ kind }) => kind === 'batch')!
  assert.equal(batch.title, 'SELECT 3; SELECT generate_series(1, 4)')
  assert.deepEqual(batch.facts, { statements: 2, command: 'SELECT', rows: 5 })
  assert.ok(batch.sent! - batch.start > 10 && batch.sent! <= batch.end)
  assert.equal(items.find(({ title }) => title === 'SELECT 2')!.label, 'look')
  assertNested(timeline)
})

test('what goes on at the moment is shown as going on', async () => {
  await using manager = await connected()
  using timeline = record(manager)
  const held = manager.transaction((connection) => connection.query('SELECT pg_sleep(0.1)'))
  await until(() => manager.stats.statement?.includes('pg_sleep'), { what: 'it to run' })
  const open = itemsOf(timeline).filter(({ goesOn }) => goesOn)
  assert.deepEqual(open.map(({ kind }) => kind).toSorted(), [
    'connection',
    'hold',
    'statement',
    'transaction',
  ])
  assertNested(timeline)
  await held
})

test("a worker's manager is recorded from within its thread", async () => {
  await using manager = await connected()
  const port = share(manager)
  const program = `
    const { parentPort, workerData } = require('node:worker_threads')
    async function run() {
      const { attach } = await import('pg-managed-connection/worker')
      const { record } = await import('pg-managed-connection/timeline')
      const manager = attach(workerData)
      const timeline = record(manager)
      await manager.transaction((connection) => connection.query('SELECT 1'), { label: 'far away' })
      await manager.query('SELECT 2')
      timeline.stop()
      parentPort.postMessage(timeline.toHTML())
      await manager.close()
    }
    void run()`
  const worker = new Worker(program, { eval: true, workerData: port, transferList: [port] })
  const html = await within(new Promise<string>((resolve) => worker.once('message', resolve)), 'the page')
  await worker.terminate()
  const { items, lanes } = readPage(html)
  assert.deepEqual(items.map(({ kind, label }) => `${kind} ${label ?? ''}`.trim()).toSorted(), [
    'hold far away',
    'statement',
    'statement far away',
    'transaction far away',
    'wait far away',
  ])
  assert.deepEqual(
    lanes.map(({ kind }) => kind),
    ['label', 'one-shots'],
  )
})

test('no more items are kept than the capacity; the oldest go first, and it is told how many', async () => {
  await using manager = await connected()
  using timeline = record(manager, { capacity: 5 })
  for (let i = 1; i <= 12; i++) await manager.query(`SELECT ${i}`)
  assert.deepEqual([timeline.capacity, timeline.size, timeline.dropped], [5, 5, 7])
  // The connection that is open is always shown.
  assert.deepEqual(
    itemsOf(timeline).map(({ title }) => title),
    ['open', 'SELECT 8', 'SELECT 9', 'SELECT 10', 'SELECT 11', 'SELECT 12'],
  )
  assert.match(timeline.toHTML(), /7 older items were dropped/)
  await manager.transaction((connection) => connection.query('SELECT 13'))
  await manager.transaction((connection) => connection.query(`SELECT '${'x'.repeat(1_000_000)}'`))
  assertNested(timeline)
  assert.ok(timeline.toHTML().length < 200_000)
})

test('parameters are shown only where the manager has traceValues, and never called to describe themselves', async () => {
  const secret = 'hunter2'
  const pages: string[] = []
  for (const traceValues of [false, true]) {
    await using manager = await connected({ traceValues })
    using timeline = record(manager)
    await manager.query('SELECT $1::text, $2::text', [
      secret,
      { toPostgres: () => 'x', [Symbol.for('nodejs.util.inspect.custom')]: () => assert.fail('called') },
    ])
    pages.push(timeline.toHTML() + JSON.stringify(timeline.toTraceEvents()))
  }
  assert.ok(!pages[0]!.includes(secret))
  assert.ok(pages[1]!.includes(secret))
})

/** Whatever could end an element, a comment or a line of a script, or turn a text around. */
const HOSTILE = [
  '</script><script>hacked = 1</script>',
  '<img src=x onerror="hacked = 1">',
  '<!--<script>',
  '-->]]>&lt;&#39;"\'`${hacked = 1}',
  'a\u2028b\u2029c',
  '\u202egnp.exe\u0000\u001b[31m',
]

test('no text, label or error becomes markup or script', async () => {
  await using manager = await connected()
  using timeline = record(manager)
  for (const text of HOSTILE) {
    const failing = manager.use(
      async (connection) => {
        await connection.query(
          `SELECT 1 -- ${text.replaceAll('\u0000', '').replaceAll(/[\u2028\u2029]/g, ' ')}\n`,
        )
        throw Object.assign(new Error(text), { name: text, code: text })
      },
      { label: text },
    )
    await reason(failing)
  }
  const html = timeline.toHTML()
  assert.equal(html.match(/<\/script/gi)!.length, 2)
  assert.equal(html.match(/<script/gi)!.length, 2)
  for (const wrong of ['<img', '<!--', '\u2028', '\u2029', '\u202e', '\u0000', '\u001b']) {
    assert.ok(!html.includes(wrong), JSON.stringify(wrong))
  }
  const labels = new Set(itemsOf(timeline).map(({ label }) => label))
  for (const text of HOSTILE.slice(0, 5)) assert.ok(labels.has(text), text)
})

test('an error that cannot be looked at is recorded all the same', async () => {
  await using manager = await connected()
  using timeline = record(manager)
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  const failing = manager.use(async (connection) => {
    await connection.query('SELECT 1')
    // oxlint-disable-next-line typescript/only-throw-error -- anything can be thrown
    throw proxy
  })
  await failing.catch(() => {})
  const transaction = itemsOf(timeline).find(({ kind }) => kind === 'transaction')!
  assert.deepEqual([transaction.mark, transaction.failed!.name], ['error', 'a thrown value'])
})

test('only what the manager itself does is recorded', async () => {
  await using manager = await connected()
  await using other = await connected()
  using timeline = record(manager)
  await other.transaction((connection) => connection.query('SELECT 1'))
  assert.deepEqual(storyOf(timeline), ['connection'])
})

const CHANNELS = ['connect', 'wait', 'hold', 'transaction', 'statement']

test('after stop() nobody is subscribed or listens, and the recording stands still', async () => {
  await using manager = await connected()
  const listeners = (): number =>
    manager.eventNames().reduce((sum, event) => sum + manager.listenerCount(event), 0)
  const before = listeners()
  const subscribed = (): string[] =>
    CHANNELS.filter((name) => tracingChannel(`pg-managed-connection:${name}`).asyncEnd.hasSubscribers)
  const timeline: Timeline = record(manager)
  assert.deepEqual(subscribed(), CHANNELS)
  const held = manager.use((connection) => connection.query('SELECT 1').then(() => connection.commit()))
  timeline.stop()
  timeline.stop()
  assert.deepEqual(subscribed(), [])
  assert.equal(listeners(), before)
  await held
  const { size } = timeline
  await manager.query('SELECT 2')
  assert.equal(timeline.size, size)
  const page = timeline.toHTML()
  await sleep(5)
  assert.equal(timeline.toHTML(), page)
})

test('what is no manager, or no capacity, is refused', async () => {
  assert.throws(() => record({} as never), TypeError)
  await using manager = new ManagedConnection(database.conninfo)
  for (const capacity of [0, -1, 1.5, Number.NaN, '10' as never]) {
    assert.throws(() => record(manager, { capacity }), RangeError)
  }
})

test('trace viewers are told of lanes, marks and errors', async () => {
  await using manager = await connected()
  using timeline = record(manager)
  await manager.transaction((connection) => connection.query('SELECT 1'), { label: 'import' })
  await reason(manager.query('SELECT 1 / 0'))
  const { traceEvents } = timeline.toTraceEvents()
  const names = traceEvents.filter(({ name }) => name === 'thread_name').map(({ args }) => args['name'])
  assert.deepEqual(names, ['the connection', 'import', 'one-shots and batches'])
  const failed = traceEvents.find(({ name }) => name === 'SELECT 1 / 0')!
  assert.deepEqual([failed.args['mark'], failed.args['error']], ['error', 'error: division by zero'])
})
