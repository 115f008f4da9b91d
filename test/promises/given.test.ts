/** What a user gives (values, thrown things, signals, options) is looked at once, and can harm nobody but who gave it. */
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { reason as rejectionOf } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { collectGarbage } from '../support/collect-garbage.js'
import { openSuite } from '../support/suite.js'
import { within } from '../support/wait.js'

const { test, database } = await openSuite()

async function open(
  options: ConstructorParameters<typeof ManagedConnection>[1] = {},
): Promise<ManagedConnection> {
  const manager = new ManagedConnection(database.conninfo, options)
  await manager.query('SELECT')
  return manager
}

/** Runs `work` between two neighbours in the pipeline, whom it must not harm. */
async function amongNeighbours<T>(manager: ManagedConnection, work: () => Promise<T>): Promise<unknown> {
  const { processID } = manager.stats
  const before = manager.query('SELECT pg_sleep(0.05), 1 AS n')
  const outcome = work().catch((error: unknown) => error)
  const behind = manager.query('SELECT 2 AS n')
  assert.equal((await before).rows[0].n, 1)
  assert.equal((await behind).rows[0].n, 2)
  assert.equal(manager.stats.processID, processID)
  return outcome
}

test('values as pg takes them: a hole, and what converts to nothing, are NULL', async () => {
  await using manager = await open()
  const hole: unknown[] = []
  hole[1] = 'x'
  const nothing = { toJSON: () => undefined }
  for (const [values, expected] of [
    [hole, { a: null, b: 'x' }],
    [[nothing, { toPostgres: () => undefined }], { a: null, b: null }],
  ] as const) {
    const text = 'SELECT $1::text AS a, $2::text AS b'
    assert.deepEqual((await manager.query(text, [...values])).rows, [expected])
    assert.deepEqual((await manager.batch([{ text, values: values as unknown[] }]))[0]!.rows, [expected])
    await manager.transaction(async (connection) => {
      assert.deepEqual((await connection.query(text, values as unknown[])).rows, [expected])
    })
  }
})

test('a value that cannot be sent rejects its own call alone', async () => {
  await using manager = await open()
  const mine = new TypeError('mine')
  const throws = {
    toPostgres: () => {
      throw mine
    },
  }
  const toNumber = Object.assign(() => {}, { toString: () => 7 })
  for (const value of [throws, toNumber]) {
    const error = await amongNeighbours(manager, () => manager.query('SELECT $1::text AS v', [value]))
    assert.ok(error instanceof TypeError, String(error))
  }
  // As with pg these are texts, odd as they may be.
  for (const value of [
    { toPostgres: () => Promise.resolve('x') },
    { toPostgres: () => () => {} },
    Symbol('x'),
  ])
    assert.ok(
      !((await amongNeighbours(manager, () => manager.query('SELECT $1::text', [value]))) instanceof Error),
    )
})

test('as many values as Bind can count, and no more', async () => {
  await using manager = await open()
  const many = Array.from({ length: 65_535 }, (_, index) => `($${index + 1}::int)`).join()
  const { rows } = await manager.query(
    `SELECT count(*)::int AS n FROM (VALUES ${many}) v`,
    new Array(65_535).fill(1),
  )
  assert.deepEqual(rows, [{ n: 65_535 }])
  for (const count of [65_536, 65_537, 131_073]) {
    const values = new Array<number>(count).fill(1)
    const error = await amongNeighbours(manager, () => manager.query('SELECT $1::int', values))
    assert.ok(error instanceof RangeError && error.message.includes(String(count)), String(error))
  }
})

test('values that are longer than any message rejects their own call alone', async () => {
  await using manager = await open()
  const half = Buffer.alloc(2 ** 29)
  const error = await amongNeighbours(manager, () =>
    manager.query('SELECT $1::bytea, $2::bytea', [half, half]),
  )
  assert.ok(error instanceof RangeError && /bytes/.test(error.message), String(error))
})

test('a long text and long values arrive as they are', async () => {
  await using manager = await open()
  const long = 'é'.repeat(100_000)
  const bytes = Buffer.from('\0x'.repeat(50_000))
  const text = `SELECT length($1) AS n, $2::bytea AS bytes, $3::text AS small, length('${long}') AS literal`
  for (let time = 0; time < 3; time++) {
    const { rows } = await manager.query(text, [long, bytes, 'x'])
    assert.deepEqual(rows, [{ n: 100_000, bytes, small: 'x', literal: 100_000 }])
  }
  const both = await manager.batch([
    { text: 'SELECT $1::text AS a', values: [long] },
    { text: 'SELECT $1::text AS b', values: ['b'] },
  ])
  assert.deepEqual([both[0]!.rows[0].a, both[1]!.rows[0].b], [long, 'b'])
})

test('type parsers that throw, when they are asked for or when they read, reject their own call alone', async () => {
  await using manager = await open()
  const mine = new Error('mine')
  const refuses = {
    getTypeParser: () => {
      throw mine
    },
  }
  const fails = {
    getTypeParser: () => () => {
      throw mine
    },
  }
  for (const types of [refuses, fails]) {
    for (let time = 0; time < 3; time++) {
      const outcome = await amongNeighbours(manager, () =>
        manager.query({ text: 'SELECT 1 AS n', types: types as never }),
      )
      assert.equal(outcome, mine)
    }
  }
})

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

const unreadable = (): unknown => ({
  get code() {
    throw new Error('a getter')
  },
  get severity() {
    throw new Error('a getter')
  },
})

for (const [what, make] of Object.entries({ 'a revoked Proxy': revoked, 'getters that throw': unreadable })) {
  test(`whatever is thrown is passed on, and the turn too: ${what}`, async () => {
    await using manager = await open()
    for (const run of [
      (thrown: unknown) =>
        manager.use(() => {
          throw thrown
        }),
      (thrown: unknown) =>
        manager.transaction(async (connection) => {
          await connection.query('SELECT 1')
          throw thrown
        }),
      (thrown: unknown) =>
        manager.transaction(
          () => {
            throw thrown
          },
          { retries: 2 },
        ),
      (thrown: unknown) =>
        manager.transaction((connection) =>
          connection.transaction(() => {
            throw thrown
          }),
        ),
    ]) {
      const thrown = make()
      let got: unknown
      await within(
        run(thrown).catch((error: unknown) => {
          got = error
        }),
        'the caller to be told',
      )
      assert.ok(Object.is(got, thrown))
      await within(manager.query('SELECT'), 'the next to be served')
    }
  })
}

/** As they are in jsdom, and in older libraries: no instance of this realm's class, and without a reason. */
class ForeignSignal extends EventTarget {
  aborted = false

  abort(): void {
    this.aborted = true
    this.dispatchEvent(new Event('abort'))
  }
}

test('a signal of another realm is one, too', async () => {
  await using manager = await open()
  const running = new ForeignSignal()
  const late = sleep(50).then(() => running.abort())
  const signal = running as unknown as AbortSignal
  const error = await rejectionOf(manager.query({ text: 'SELECT pg_sleep(20)', signal }))
  await late
  assert.equal((error as Error).name, 'AbortError')
  for (const ask of [
    () => manager.use(() => 1, { signal }),
    () => manager.batch(['SELECT 1'], { signal }),
    () => manager.listen('a', { signal }),
  ])
    assert.equal(((await rejectionOf(ask())) as Error).name, 'AbortError')
})

for (const reason of [null, 0, 'stop', undefined]) {
  test(`a signal’s reason is what its callers are rejected with: ${String(reason)}`, async () => {
    await using manager = await open()
    const expected = AbortSignal.abort(reason).reason as unknown
    const isExpected = (error: unknown): void => {
      if (reason === undefined) assert.equal((error as Error).name, 'AbortError')
      else assert.ok(Object.is(error, expected), String(error))
    }
    const rejected = async (
      ask: (signal: AbortSignal) => Promise<unknown>,
      abortAfter: number,
    ): Promise<void> => {
      const controller = new AbortController()
      if (abortAfter === 0) controller.abort(reason)
      const aborting = sleep(abortAfter).then(() => controller.abort(reason))
      let told = false
      await ask(controller.signal).catch((error: unknown) => {
        told = true
        isExpected(error)
      })
      await aborting
      assert.ok(told, 'it was not rejected')
      assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
    }
    for (const abortAfter of [0, 40]) {
      await rejected((signal) => manager.query({ text: 'SELECT pg_sleep(20)', signal }), abortAfter)
      await rejected((signal) => manager.batch(['SELECT pg_sleep(20)'], { signal }), abortAfter)
      await rejected(
        (signal) =>
          manager.use((connection) => connection.query({ text: 'SELECT pg_sleep(20)', signal }), {
            autocommit: true,
          }),
        abortAfter,
      )
      await using held = await manager.acquire()
      assert.ok(held)
      await rejected((signal) => manager.acquire({ signal }), abortAfter)
      await rejected((signal) => manager.transaction(() => {}, { signal }), abortAfter)
      await rejected((signal) => manager.listen('a', { signal }), abortAfter)
      await rejected((signal) => manager.query({ text: 'SELECT 1', signal }), abortAfter)
    }
  })
}

test('a signal or limit that is null in a query’s config was not given, as libraries pass it', async () => {
  await using manager = await open()
  const config = {
    text: 'SELECT 1 AS n',
    signal: null,
    timeoutMillis: null,
    values: null,
    types: null,
    name: null,
  }
  assert.deepEqual((await manager.query(config as never)).rows, [{ n: 1 }])
})

test('an option that a call does not know is refused, and the nearest one named', async () => {
  await using manager = await open()
  const cases: readonly (readonly [() => unknown, RegExp])[] = [
    [() => manager.transaction(() => 1, { isolationlevel: 'serializable' } as object), /"isolationLevel"/],
    [
      () => manager.transaction(() => 1, { readOnly: true } as object),
      /transaction\(\) has no option "readOnly"/,
    ],
    [() => manager.use(() => 1, { isolationLevel: 'serializable' } as object), /option of transaction\(\)/],
    [() => manager.use(() => 1, { maxHoldMillis: 5 } as object), /option of the manager/],
    [() => manager.use(() => 1, 5 as unknown as object), /must be an object/],
    [() => manager.use(() => 1, null as unknown as object), /object/],
    [() => manager.acquire({ timeoutMilis: 5 } as object), /"timeoutMillis"/],
    [() => manager.tryAcquire({ autoCommit: true } as object), /"autocommit"/],
    [() => manager.batch([], { retries: 1 } as object), /option of transaction\(\)/],
    [() => manager.listen('a', { maxBufferd: 1 } as object), /"maxBuffered"/],
    [() => manager.close({ timeoutMillis: 1 } as object), /close\(\) has no option/],
    [() => manager.end({ timeout: 1 } as object), /"timeoutMillis"/],
  ]
  for (const [ask, expected] of cases) await assert.rejects(async () => ask(), expected)
  await manager.use((connection) => {
    assert.throws(() => connection.stream('SELECT 1', [], { batchsize: 1 } as object), /"batchSize"/)
  })
  await manager.transaction(async (connection) => {
    const nested = connection.transaction as (work: unknown, options?: object) => Promise<unknown>
    const serializable = { isolationLevel: 'serializable' }
    await assert.rejects(
      nested.call(connection, () => 1, serializable),
      /option of transaction\(\)/,
    )
    await assert.rejects(
      nested.call(connection, function* () {
        yield 1
      }),
      /a generator/,
    )
  })
  // What is undefined was not given.
  assert.equal(await manager.use(() => 1, { isolationLevel: undefined } as object), 1)
})

test('what cannot be run, or is no query, is refused with a word', async () => {
  await using manager = await open()
  function* generator(): Generator<number> {
    yield 1
  }
  await assert.rejects(manager.use(generator), /a generator/)
  await assert.rejects(manager.transaction(5 as never), /takes a function/)
  const tag = manager.query.bind(manager) as unknown as (
    strings: TemplateStringsArray,
    ...given: unknown[]
  ) => Promise<unknown>
  await assert.rejects(tag`SELECT ${1}`, /no tag for templates/)
})

test('no shared timer keeps the async context of who asked first', async () => {
  await using manager = await open()
  const storage = new AsyncLocalStorage<object>()
  /** What lives in the caller's context, once the caller has its answer. */
  const ask = async (): Promise<WeakRef<object>> => {
    const store = {}
    await storage.run(store, async () => {
      await manager.query({ text: 'SELECT 1', timeoutMillis: 50_000 })
      await manager.use((connection) => connection.rollback(), { timeoutMillis: 50_001 })
    })
    return new WeakRef(store)
  }
  const ref = await ask()
  for (let time = 0; time < 5 && ref.deref() !== undefined; time++) {
    await nextTurn()
    collectGarbage()
  }
  assert.equal(ref.deref(), undefined)
})
