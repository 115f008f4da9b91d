/** What the tracing channels of `node:diagnostics_channel` tell. */
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { tracingChannel, type TracingChannel } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import {
  CommitRolledBackError,
  type ConnectContext,
  type HoldContext,
  type StatementContext,
  type TraceContext,
  type TransactionContext,
  type WaitContext,
} from 'pg-managed-connection'
import { reason } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { Cursor } from '../support/submittables.js'
import { openSuite } from '../support/suite.js'
import { until } from '../support/wait.js'

const { test, database } = await openSuite()
await database.admin.query('CREATE TABLE traced (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)')

interface Contexts {
  connect: ConnectContext
  wait: WaitContext
  hold: HoldContext
  transaction: TransactionContext
  statement: StatementContext
}

type Kind = keyof Contexts

const KINDS: readonly Kind[] = ['connect', 'wait', 'hold', 'transaction', 'statement']

function channel<K extends Kind>(kind: K): TracingChannel<unknown, Contexts[K]> {
  return tracingChannel<unknown, Contexts[K]>(`pg-managed-connection:${kind}`)
}

interface Told<K extends Kind = Kind> {
  readonly kind: K
  readonly phase: 'start' | 'end' | 'asyncStart' | 'asyncEnd' | 'error'
  readonly context: Contexts[K]
}

/** Writes down what the channels tell of one manager, until it is disposed of. */
class Ear implements Disposable {
  readonly told: Told[] = []
  readonly #stops: (() => void)[] = []

  constructor(manager: ManagedConnection, kinds = KINDS) {
    for (const kind of kinds) {
      const hear = (phase: Told['phase']) => (context: TraceContext) => {
        // The manager of a worker is another one, of the same name.
        if (String(context.manager) === String(manager)) this.told.push({ kind, phase, context } as Told)
      }
      const phases = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const
      const subscriber = Object.fromEntries(phases.map((phase) => [phase, hear(phase)]))
      const one = channel(kind) as TracingChannel
      one.subscribe(subscriber as never)
      this.#stops.push(() => one.unsubscribe(subscriber as never))
    }
  }

  /** Kinds and phases, without those that say little. */
  get story(): string[] {
    return this.told
      .filter(({ phase }) => phase !== 'end' && phase !== 'asyncStart')
      .map(({ kind, phase }) => `${kind} ${phase}`)
  }

  of<K extends Kind>(kind: K): Contexts[K][] {
    const of = this.told.filter((one) => one.kind === kind && one.phase === 'start')
    return of.map(({ context }) => context as Contexts[K])
  }

  /** What has begun and is not over. */
  get open(): string[] {
    const over = new Set(this.told.filter(({ phase }) => phase === 'asyncEnd').map(({ context }) => context))
    return this.told
      .filter(({ phase, context }) => phase === 'start' && !over.has(context))
      .map(({ kind }) => kind)
  }

  [Symbol.dispose](): void {
    for (const stop of this.#stops) stop()
  }
}

test('a transaction tells of its wait, its turn, itself and its statements, each in its place', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  using ear = new Ear(manager)
  await manager.transaction(
    async (connection) => {
      await connection.query('SELECT generate_series(1, 2)')
    },
    { label: 'import' },
  )
  assert.deepEqual(ear.story.toSorted(), [
    'hold asyncEnd',
    'hold start',
    'statement asyncEnd',
    'statement start',
    'transaction asyncEnd',
    'transaction start',
    'wait asyncEnd',
    'wait start',
  ])
  assert.deepEqual(ear.story.slice(0, 6), [
    'wait start',
    'wait asyncEnd',
    'hold start',
    'transaction start',
    'statement start',
    'statement asyncEnd',
  ])
  const [[wait], [hold], [transaction], [statement]] = [
    ear.of('wait'),
    ear.of('hold'),
    ear.of('transaction'),
    ear.of('statement'),
  ]
  for (const { label } of [wait!, hold!, transaction!, statement!]) assert.equal(label, 'import')
  assert.equal(hold!.wait, wait)
  assert.equal(transaction!.hold, hold)
  assert.equal(transaction!.outcome, 'committed')
  assert.equal(statement!.hold, hold)
  assert.equal(statement!.transaction, transaction)
  assert.deepEqual([statement!.command, statement!.rowCount, statement!.values], ['SELECT', 2, null])
})

test('one-shots and batches tell of themselves, of what they got and of what they failed with', async () => {
  await using manager = new ManagedConnection(database.conninfo, { traceValues: true })
  await manager.query('SELECT 1')
  using ear = new Ear(manager)
  await manager.query({ text: 'SELECT $1::int', values: [7], label: 'look' })
  await manager.batch(['SELECT 1', 'SELECT generate_series(1, 3)'])
  const error = await reason(manager.query('SELECT 1 / 0'))
  const [look, both, failed] = ear.of('statement')
  assert.deepEqual([look!.label, look!.values, look!.hold, look!.rowCount], ['look', ['7'], null, 1])
  assert.deepEqual(
    [both!.text, both!.batchSize, both!.rowCount],
    ['SELECT 1; SELECT generate_series(1, 3)', 2, 4],
  )
  assert.equal(failed!.error, error)
  assert.deepEqual(ear.story, [
    'statement start',
    'statement asyncEnd',
    'statement start',
    'statement asyncEnd',
    'statement start',
    'statement error',
    'statement asyncEnd',
  ])
})

test('a one-shot tells how long it has waited before it was sent', { needs: ['own thread'] }, async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  using ear = new Ear(manager, ['statement'])
  const holding = manager.use(() => sleep(60))
  await Promise.all([manager.query('SELECT 2'), manager.batch(['SELECT 3']), holding])
  for (const { waitedMillis } of ear.of('statement')) assert.ok(waitedMillis! >= 50, String(waitedMillis))
})

test('values are not told unless they are asked for', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  using ear = new Ear(manager, ['statement'])
  await manager.query('SELECT $1::text', ['secret'])
  assert.equal(ear.of('statement')[0]!.values, null)
})

test('what became of a transaction is told: rolled back, refused at COMMIT, or ended by a text', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  using ear = new Ear(manager, ['transaction', 'hold'])
  const own = new Error('own')
  assert.equal(
    await reason(
      manager.transaction(async (connection) => {
        await connection.query('SELECT 1')
        throw own
      }),
    ),
    own,
  )
  const swallowed = await reason(
    manager.transaction((connection) => connection.query('SELECT 1 / 0').catch(() => {})),
  )
  assert.ok(swallowed instanceof CommitRolledBackError)
  await assert.rejects(
    manager.transaction((connection) => connection.query('INSERT INTO traced VALUES (1), (1)')),
    { code: '23505' },
  )
  await assert.rejects(manager.use((connection) => connection.query('SELECT 1')))
  await manager.use(async (connection) => {
    await connection.query('SELECT 1')
    await connection.query('COMMIT')
    await connection.query('SELECT 2')
    await connection.rollback()
  })
  const transactions = ear.of('transaction')
  assert.deepEqual(
    transactions.map(({ outcome }) => outcome),
    ['rolled back', 'rolled back', 'rolled back', 'rolled back', 'committed', 'rolled back'],
  )
  assert.equal(transactions[0]!.error, own)
  assert.equal(transactions[1]!.error, swallowed)
  assert.equal(ear.of('hold').length, 5)
  assert.deepEqual(ear.open, [])
})

test('nested transactions are told with what they are nested in', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  using ear = new Ear(manager)
  await manager.transaction(async (connection) => {
    await connection.query('SELECT 1')
    await connection.transaction((nested) => nested.query('SELECT 2'))
    await assert.rejects(connection.transaction((nested) => nested.query('SELECT 1 / 0')))
    await connection.query('SELECT 3')
  })
  const [outer, well, failed] = ear.of('transaction')
  assert.deepEqual([outer!.parent, well!.parent, failed!.parent], [null, outer, outer])
  assert.deepEqual(
    [outer!.outcome, well!.outcome, failed!.outcome],
    ['committed', 'committed', 'rolled back'],
  )
  assert.deepEqual(
    ear.of('statement').map(({ transaction }) => [outer, well, failed].indexOf(transaction!)),
    [0, 1, 2, 0],
  )
  assert.deepEqual(ear.open, [])
})

test('a transaction that begins with a nested one is told around it', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  using ear = new Ear(manager, ['transaction'])
  await manager.transaction((connection) => connection.transaction((nested) => nested.query('SELECT 1')))
  await manager.use((connection) => connection.transaction((nested) => nested.query('SELECT 1')))
  const [outer, nested, alone] = ear.of('transaction')
  assert.deepEqual([outer!.parent, nested!.parent, alone!.parent], [null, outer, null])
  assert.deepEqual(ear.open, [])
})

test('autocommit tells of statements and of no transaction, but for those that a text begins', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  using ear = new Ear(manager, ['transaction', 'statement'])
  await manager.use(
    async (connection) => {
      await connection.query('SELECT 1')
      assert.equal(ear.of('transaction').length, 0)
      await connection.query('BEGIN')
      await connection.query('SELECT 2')
      await connection.query('COMMIT')
    },
    { autocommit: true },
  )
  assert.equal(ear.of('transaction').length, 1)
  assert.equal(ear.of('transaction')[0]!.outcome, 'committed')
  assert.equal(ear.of('statement')[2]!.transaction, ear.of('transaction')[0])
  assert.deepEqual(ear.open, [])
})

test('streams and handles tell when they are over, also where they are left early', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  using ear = new Ear(manager)
  const connection = await manager.acquire({ label: 'reader' })
  for await (const row of connection.stream('SELECT generate_series(1, 1000) AS n'))
    if ((row as { n: number }).n === 5) break
  await connection.rollback()
  await connection.release()
  assert.deepEqual(
    ear.of('statement').map(({ text }) => text),
    ['SELECT generate_series(1, 1000) AS n'],
  )
  assert.deepEqual(ear.open, [])
})

test(
  'a cursor, too, is a statement of the transaction that it opens, or ends',
  { needs: ['own thread'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    await manager.query('SELECT 1')
    using ear = new Ear(manager, ['transaction', 'statement'])
    await manager.use(async (connection) => {
      const cursor = connection.query(new Cursor('SELECT 1 AS n'))
      await cursor.read(10)
      await connection.rollback()
      await connection.query('SELECT 2')
      await once(connection.query(new pg.Query('COMMIT')), 'end')
    })
    const [first, second] = ear.of('transaction')
    assert.deepEqual(
      ear.of('statement').map(({ text, transaction }) => [text, transaction === first]),
      [
        ['SELECT 1 AS n', true],
        ['SELECT 2', false],
        ['COMMIT', false],
      ],
    )
    assert.deepEqual([first!.outcome, second!.outcome], ['rolled back', 'unknown'])
    assert.deepEqual(ear.open, [])
  },
)

test('who waits in vain, or is refused, is told of with the error', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  using ear = new Ear(manager, ['wait', 'hold'])
  const holding = manager.use(() => sleep(80))
  const error = await reason(manager.use(() => {}, { timeoutMillis: 20 }))
  await holding
  assert.equal(ear.of('wait')[1]!.error, error)
  assert.equal(ear.of('hold').length, 1)
  assert.equal(await manager.tryAcquire().then((connection) => connection?.release()), undefined)
  assert.deepEqual(ear.open, [])
})

test('a turn that is taken back is over, with the reason', async () => {
  await using manager = new ManagedConnection(database.conninfo, { maxHoldMillis: 40 })
  await manager.query('SELECT 1')
  using ear = new Ear(manager)
  const error = await reason(manager.use((connection) => connection.query('SELECT pg_sleep(5)')))
  await until(() => ear.open.length === 0, { what: 'everything to be over' })
  assert.equal(ear.of('hold')[0]!.error, error)
  assert.equal(ear.of('transaction')[0]!.outcome, 'rolled back')
})

test(
  'opening the connection is told, with the server that was found',
  { needs: ['own thread'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    using ear = new Ear(manager, ['connect'])
    await manager.query('SELECT 1')
    await manager.close()
    await manager.query('SELECT 1')
    const [first, second] = ear.of('connect')
    assert.deepEqual([first!.reconnecting, second!.reconnecting], [false, true])
    assert.equal(second!.processID, manager.stats.processID)
    assert.ok(first!.host !== null && first!.port !== null)
    await using nowhere = new ManagedConnection({ host: '127.0.0.1', port: 1 })
    using other = new Ear(nowhere, ['connect'])
    const error = await reason(nowhere.query('SELECT 1'))
    assert.equal((other.of('connect')[0]!.error as Error).message, (error as Error).message)
  },
)

test('what runs sees the stores that are bound to the channel', { needs: ['own thread'] }, async () => {
  const storage = new AsyncLocalStorage<string>()
  let seen: string | undefined
  await using manager = new ManagedConnection(database.conninfo, {
    onConnect: () => void (seen = storage.getStore()),
  })
  const { start } = channel('connect')
  start.bindStore(storage, ({ reconnecting }) => `reconnecting: ${reconnecting}`)
  try {
    await manager.query('SELECT 1')
  } finally {
    start.unbindStore(storage)
  }
  assert.equal(seen, 'reconnecting: false')
})

test(
  'a statement that nobody waits for is an unhandled rejection, traced or not',
  { needs: ['own thread'] },
  async () => {
    const program = `
    import { subscribe } from 'node:diagnostics_channel'
    import { ManagedConnection } from 'pg-managed-connection'
    if (process.argv[2] === 'traced') subscribe('tracing:pg-managed-connection:statement:start', () => {})
    process.on('unhandledRejection', (error) => console.log('unhandled', error.code))
    const manager = new ManagedConnection(process.argv[1])
    await manager.use(async (connection) => {
      void connection.query('SELECT 1 / 0')
      await new Promise((resolve) => setTimeout(resolve, 50))
      await connection.rollback()
    })
    void manager.query('SELECT 1 / 0')
    await manager.end()`
    for (const traced of ['traced', 'not traced']) {
      const args = ['--input-type=module', '-e', program, database.conninfo, traced]
      const { stdout } = await promisify(execFile)(process.execPath, args)
      assert.equal(stdout, 'unhandled 22012\nunhandled 22012\n', traced)
    }
  },
)
