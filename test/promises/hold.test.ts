/** How long a holder may keep the connection: warnings, taking it back, and the grace of a release. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { runInThisContext } from 'node:vm'
import {
  type AcquireTimeoutError,
  HoldTimeoutError,
  UnfinishedStatementError,
  type Connection,
  type HoldWarningEvent,
  type RollbackEvent,
} from 'pg-managed-connection'
import { createGate, reason } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'
import { openManager } from '../support/manager.js'

const { test, database } = await openSuite()
const { admin } = database

await admin.query('CREATE TABLE held (id int)')

function assertTakenBack(error: unknown, maxHoldMillis: number): asserts error is HoldTimeoutError {
  assert.ok(error instanceof HoldTimeoutError, String(error))
  assert.equal(error.code, 'ERR_HOLD_TIMEOUT')
  assert.equal(error.maxHoldMillis, maxHoldMillis)
}

async function failureOf(promise: Promise<unknown>): Promise<{ error: unknown; millis: number }> {
  const start = performance.now()
  const [outcome] = await within(Promise.allSettled([promise]), 'a rejection')
  assert.equal(outcome.status, 'rejected')
  return { error: outcome.reason, millis: performance.now() - start }
}

async function isFree(manager: ManagedConnection): Promise<void> {
  assert.deepEqual((await within(manager.query('SELECT 1 AS one'), 'the next')).rows, [{ one: 1 }])
}

async function keepTooLong(connection: Connection): Promise<void> {
  await connection.query('SELECT 1')
  await sleep(250)
  await connection.rollback()
}

test('a holder that keeps the connection too long is told of with its stack, and again when it returned it', async () => {
  await using manager = openManager(database.conninfo, { holdWarningMillis: 100 })
  const events: HoldWarningEvent[] = []
  manager.on('holdWarning', (event) => events.push(event))
  await manager.use(keepTooLong)
  assert.deepEqual(
    events.map(({ returned }) => returned),
    [false, true],
  )
  const [warning, after] = events
  assert.ok(warning!.heldMillis >= 95 && warning!.heldMillis < 1_000)
  assert.ok(after!.heldMillis >= 240)
  for (const { stack } of events) assert.match(stack ?? '', /hold\.test/)
})

for (const [holdWarningMillis, expected] of [
  [0, ['taken back']],
  [40, ['held', 'taken back']],
] as const) {
  test(`what maxHoldMillis takes back is told as that, with nothing open and holdWarningMillis: ${holdWarningMillis}`, async () => {
    const lines: string[] = []
    const write = (line: string): void => void lines.push(line)
    const logger = { debug: () => {}, info: () => {}, warn: write }
    await using manager = openManager(database.conninfo, { maxHoldMillis: 120, holdWarningMillis, logger })
    const events: HoldWarningEvent[] = []
    manager.on('holdWarning', (event) => events.push(event))
    const never = createGate()
    const error = await reason(manager.use(() => never.opened, { label: 'never' }))
    assert.ok(error instanceof HoldTimeoutError)
    await manager.query('SELECT 1')
    never.open()
    assert.deepEqual(
      events.map(({ returned, takenBack }) => (returned ? 'returned' : takenBack ? 'taken back' : 'held')),
      expected,
    )
    assert.ok(events.every(({ label, heldMillis }) => label === 'never' && heldMillis > 35))
    assert.match(lines.at(-1)!, /the connection was taken back from "never" after \d+ms/)
    assert.equal(lines.length, expected.length)
  })
}

test('the frames of the program are its own wherever its code lies, in one file with this package, too', async () => {
  await using manager = openManager(database.conninfo, { traceHolders: true })
  await manager.query('SELECT 1')
  const bundle = fileURLToPath(new URL('bundle.js', import.meta.resolve('pg-managed-connection')))
  const hold = runInThisContext(
    '(manager, end) => function usersOwn() { return manager.use(() => end, { label: "bundled" }) }',
    { filename: bundle },
  ) as (manager: ManagedConnection, end: Promise<void>) => () => Promise<void>
  const end = createGate()
  const holding = hold(manager, end.opened)()
  const error = (await reason(manager.use(() => {}, { timeoutMillis: 20 }))) as AcquireTimeoutError
  end.open()
  await holding
  assert.match(error.holderStack!, /^\s*at usersOwn .*bundle\.js/)
})

test('the stack of a warning leads to whoever called acquire() or transaction(), too', async () => {
  await using manager = openManager(database.conninfo, { holdWarningMillis: 50 })
  const stacks: (string | null)[] = []
  manager.on('holdWarning', ({ stack, returned }) => void (returned || stacks.push(stack)))
  async function borrower(): Promise<void> {
    await using connection = await manager.acquire()
    await sleep(120)
    assert.equal(connection.status, 'idle')
  }
  async function transactor(): Promise<void> {
    await manager.transaction(() => sleep(120))
  }
  await borrower()
  await transactor()
  assert.match(stacks[0] ?? '', /borrower/)
  assert.match(stacks[1] ?? '', /transactor/)
})

test('a holder that is quick is not told of', async () => {
  await using manager = openManager(database.conninfo, { holdWarningMillis: 300 })
  let warnings = 0
  manager.on('holdWarning', () => warnings++)
  const busy = Promise.all(Array.from({ length: 8 }, () => manager.use(() => sleep(60))))
  await busy // the last of them has waited for longer than the limit, but held for less
  assert.equal(warnings, 0)
})

for (const [name, hold] of Object.entries({
  use: (manager: ManagedConnection, work: (connection: Connection) => Promise<void>) => manager.use(work),
  transaction: (manager: ManagedConnection, work: (connection: Connection) => Promise<void>) =>
    manager.transaction(work),
})) {
  test(`maxHoldMillis takes the connection back from ${name}() that is idle in a transaction`, async () => {
    await using manager = openManager(database.conninfo, { maxHoldMillis: 200 })
    const rollbacks: RollbackEvent[] = []
    manager.on('rollback', (event) => rollbacks.push(event))
    let late: Promise<unknown> = Promise.resolve()
    let handle: Connection | undefined
    let finished = false
    const id = name === 'use' ? 1 : 2
    const held = hold(manager, async (connection) => {
      handle = connection
      await connection.query('INSERT INTO held VALUES ($1)', [id])
      await sleep(500)
      late = failureOf(connection.query('INSERT INTO held VALUES ($1)', [id])).then(({ error }) => error)
      finished = true
      throw new Error('nobody hears this')
    })
    const next = manager.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    const { error, millis } = await failureOf(held)
    assertTakenBack(error, 200)
    assert.ok(millis < 1_200, `${millis} ms`)
    await within(next, 'the next in line')
    assert.equal(finished, false)
    await until(() => finished, { what: 'the work to go on' })
    assertTakenBack(await late, 200)
    assert.equal(handle?.status, 'unknown')
    assert.deepEqual(await admin.rows('SELECT * FROM held WHERE id = $1', [id]), [])
    assert.deepEqual(
      rollbacks.map(({ reason }) => reason),
      ['hold timeout'],
    )
    await isFree(manager)
    assert.equal(manager.stats.connects, 1)
  })

  test(`maxHoldMillis cancels the statement that ${name}() is running`, { needs: ['cancel'] }, async () => {
    await using manager = openManager(database.conninfo, { maxHoldMillis: 200 })
    let statement: Promise<unknown> | undefined
    const held = hold(manager, async (connection) => {
      await connection.query('SELECT 1')
      statement = failureOf(connection.query('SELECT pg_sleep(30)')).then(({ error }) => error)
      await statement
    })
    const { error, millis } = await failureOf(held)
    assertTakenBack(error, 200)
    assert.ok(millis < 1_200, `${millis} ms`)
    assertTakenBack(await statement, 200)
    const start = performance.now()
    await isFree(manager)
    assert.ok(performance.now() - start < 3_000)
    assert.equal(manager.stats.connects, 1)
    assert.ok((await admin.activity()).every(({ state }) => state === 'idle'))
  })
}

test('maxHoldMillis takes the connection back from a handle of acquire()', async () => {
  await using manager = openManager(database.conninfo, { maxHoldMillis: 200 })
  const connection = await manager.acquire()
  await connection.query('INSERT INTO held VALUES (3)')
  const next = await within(manager.acquire(), 'the next holder')
  for (const asked of [connection.query('SELECT 1'), connection.commit(), connection.rollback()]) {
    assertTakenBack((await failureOf(asked)).error, 200)
  }
  assertTakenBack((await failureOf(connection.release())).error, 200)
  await connection.release()
  await next.query('SELECT 1')
  await next.rollback()
  await next.release()
  assert.deepEqual(await admin.rows('SELECT * FROM held WHERE id = 3'), [])
})

test(
  'statements that had been asked for and not sent are rejected with the rest and never run',
  { needs: ['cancel'] },
  async () => {
    await using manager = openManager(database.conninfo, { maxHoldMillis: 200 })
    const outcomes: Promise<PromiseSettledResult<unknown>[]>[] = []
    const held = manager.use(
      async (connection) => {
        await connection.query('SELECT 1')
        const asked = Promise.allSettled([
          connection.query('SELECT pg_sleep(30); SELECT 1'),
          connection.query('INSERT INTO held VALUES (4)'),
          connection.query('INSERT INTO held VALUES (4)'),
        ])
        outcomes.push(asked)
        await asked
      },
      { autocommit: true },
    )
    assertTakenBack((await failureOf(held)).error, 200)
    for (const outcome of await outcomes[0]!) {
      assert.ok(outcome.status === 'rejected')
      assertTakenBack(outcome.reason, 200)
    }
    await isFree(manager)
    assert.deepEqual(await admin.rows('SELECT * FROM held WHERE id = 4'), [])
  },
)

test('a nested transaction that is taken back rejects on every handle', async () => {
  await using manager = openManager(database.conninfo, { maxHoldMillis: 150 })
  const errors: unknown[] = []
  let over = false
  const held = manager.transaction((outer) =>
    outer
      .transaction(async (inner) => {
        await inner.query('INSERT INTO held VALUES (5)')
        await sleep(300)
        await inner.query('SELECT 1').catch((error: unknown) => errors.push(error))
      })
      .catch((error: unknown) => errors.push(error))
      .finally(() => (over = true)),
  )
  assertTakenBack((await failureOf(held)).error, 150)
  await until(() => over, { what: 'the work to go on' })
  assert.equal(errors.length >= 1, true)
  for (const error of errors) assertTakenBack(error, 150)
  await isFree(manager)
  assert.deepEqual(await admin.rows('SELECT * FROM held WHERE id = 5'), [])
})

test('what was taken back while its COMMIT was under way is not said to be safe to retry', async () => {
  await admin.query(`
    CREATE TABLE slow_commit (id int);
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN
        BEGIN PERFORM pg_sleep(0.6); EXCEPTION WHEN query_canceled THEN NULL; END;
        RETURN NULL;
      END $$;
    CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON slow_commit
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle()`)
  await using manager = openManager(database.conninfo, { maxHoldMillis: 200 })
  const held = manager.use(async (connection) => {
    await connection.query('INSERT INTO slow_commit VALUES (1)')
    await connection.commit()
  })
  const [outcome] = await within(Promise.allSettled([held]), 'the holder')
  await isFree(manager)
  const stored = (await admin.rows('SELECT id FROM slow_commit')).length === 1
  if (outcome.status === 'fulfilled') assert.equal(stored, true)
  else {
    assertTakenBack(outcome.reason, 200)
    assert.equal(outcome.reason.retrySafe && stored, false, 'stored, and said to be safe to retry')
  }
})

test('a transaction() whose COMMIT has been sent is not taken back any more', async () => {
  await admin.query(`
    CREATE TABLE slower_commit (id int);
    CREATE FUNCTION dawdle_more() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON slower_commit
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle_more()`)
  for (const close of [false, true]) {
    await using manager = openManager(database.conninfo, { maxHoldMillis: 250 })
    const [outcome] = await within(
      Promise.allSettled([
        manager.transaction(
          (connection) => connection.query('INSERT INTO slower_commit VALUES ($1)', [Number(close)]),
          {
            close,
          },
        ),
      ]),
      'the holder',
    )
    const stored = (await admin.rows('SELECT id FROM slower_commit WHERE id = $1', [Number(close)])).length
    if (!close) assert.equal(outcome.status, 'fulfilled')
    // Where the answer comes before the hand-over the hold goes on, and may time out; but it must not lie.
    if (outcome.status === 'fulfilled') assert.equal(stored, 1)
    else assert.ok(stored === 0 || (outcome.reason as { retrySafe: boolean }).retrySafe === false)
  }
})

test('a holder in time is not taken back, and its timer goes with it', async () => {
  await using manager = openManager(database.conninfo, { maxHoldMillis: 200, holdWarningMillis: 200 })
  let warnings = 0
  manager.on('holdWarning', () => warnings++)
  for (let i = 0; i < 10; i++) {
    await manager.transaction(async (connection) => {
      await connection.query('SELECT 1')
      await sleep(30)
    })
  }
  await sleep(250)
  assert.equal(warnings, 0)
})

test('an endless loop of maxHoldMillis does not unsettle those who wait', async () => {
  await using manager = openManager(database.conninfo, { maxHoldMillis: 150 })
  const order: number[] = []
  const outcomes = await within(
    Promise.allSettled(
      [1, 2, 3, 4, 5].map((n) =>
        manager.use(async (connection) => {
          order.push(n)
          await connection.query('SELECT 1')
          await sleep(n % 2 === 0 ? 500 : 1)
          await connection.rollback()
        }),
      ),
    ),
    'everybody',
  )
  assert.deepEqual(order, [1, 2, 3, 4, 5])
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'],
  )
  await sleep(500) // what was taken back goes on for as long
})

for (const { how, autocommit, stored } of [
  { how: 'is rolled back with an implicit transaction', autocommit: false, stored: 0 },
  { how: 'has committed with autocommit', autocommit: true, stored: 1 },
]) {
  test(`a floating statement is waited for at release and ${how}`, async () => {
    const table = autocommit ? 'floating_auto' : 'floating'
    await admin.query(`CREATE TABLE ${table} (id int)`)
    await using manager = openManager(database.conninfo)
    const floating: Promise<unknown>[] = []
    const text = `INSERT INTO ${table} SELECT 1 FROM pg_sleep(0.3)`
    const held = manager.use((connection) => void floating.push(connection.query(text)), { autocommit })
    const next = manager.query(`SELECT count(*)::int AS n FROM ${table}`)
    const { error, millis } = await failureOf(held)
    assert.ok(error instanceof UnfinishedStatementError)
    assert.deepEqual(error.statements, [text])
    assert.ok(millis >= 250, `${millis} ms`)
    assert.deepEqual((await next).rows, [{ n: stored }])
    await within(Promise.allSettled(floating), 'the statement')
    assert.equal(manager.stats.connects, 1)
  })
}

test(
  'a floating statement that outlives releaseGraceMillis is cancelled, and the connection dropped',
  { needs: ['kill'] },
  async () => {
    await using manager = openManager(database.conninfo, { releaseGraceMillis: 200 })
    const floating: Promise<unknown>[] = []
    const held = manager.use((connection) => {
      floating.push(connection.query('SELECT pg_sleep(30)').catch((error: unknown) => error))
    })
    const { error, millis } = await failureOf(held)
    assert.ok(error instanceof UnfinishedStatementError, String(error))
    assert.ok(millis >= 190 && millis < 200 + 1_500, `${millis} ms`)
    await isFree(manager)
    assert.equal(manager.stats.connects, 2)
    assert.ok((await within(floating[0]!, 'the statement')) instanceof Error)
    await until(async () => (await admin.activity()).every(({ state }) => state === 'idle'), {
      what: 'the statement to be cancelled',
    })
  },
)

test(
  'a holder that throws with a statement in flight gets its own error, whatever becomes of the statement',
  { needs: ['cancel'] },
  async () => {
    await using manager = openManager(database.conninfo, { releaseGraceMillis: 200 })
    for (const seconds of [0.05, 30]) {
      const own = new Error('mine')
      const held = manager.transaction((connection) => {
        void connection.query(`SELECT pg_sleep(${seconds})`).catch(() => {})
        throw own
      })
      assert.equal((await failureOf(held)).error, own)
      await isFree(manager)
    }
  },
)

test('a floating statement never crashes the process, nor reaches the next holder', async () => {
  await using manager = openManager(database.conninfo)
  const held = manager.use((connection) => {
    void connection.query('SELECT 1/0')
    void connection.query('SELECT 1')
  })
  assert.ok((await failureOf(held)).error instanceof UnfinishedStatementError)
  await manager.use(async (connection) => {
    assert.equal(connection.status, 'idle')
    await connection.query('SELECT 1')
    await connection.commit()
  })
})

test(
  'a nested transaction that waits for its floating statement is over when the connection is taken back',
  { needs: ['cancel'] },
  async () => {
    await using manager = openManager(database.conninfo, { maxHoldMillis: 150 })
    let nested: Promise<unknown> | undefined
    const held = manager.transaction((outer) => {
      nested = outer.transaction(async (inner) => {
        await inner.query('SELECT 1')
        void inner.query('SELECT pg_sleep(30)').catch(() => {})
      })
      return nested
    })
    assertTakenBack((await failureOf(held)).error, 150)
    await within(Promise.allSettled([nested]), 'the nested transaction')
    await isFree(manager)
    assert.equal(manager.stats.connects, 1)
  },
)

test(
  'work that ends nested transactions after it was taken back does not keep the connection',
  { needs: ['kill'] },
  async () => {
    await using manager = openManager(database.conninfo, { maxHoldMillis: 100, releaseGraceMillis: 300 })
    let nested: Promise<unknown> | undefined
    const held = manager.use((outer) => {
      nested = outer.transaction(async (inner) => {
        await inner.query('SELECT 1')
        // Cannot be cancelled, so that the work ends while it is still waited for.
        const stubborn = inner.query(`DO $$ BEGIN
        BEGIN PERFORM pg_sleep(30); EXCEPTION WHEN query_canceled THEN NULL; END; PERFORM pg_sleep(1); END $$`)
        await stubborn.catch(() => {})
      })
      return nested
    })
    assertTakenBack((await failureOf(held)).error, 100)
    await within(Promise.allSettled([nested]), 'the nested transaction')
    await isFree(manager)
    const gone = async (): Promise<boolean> => (await admin.activity()).every(({ state }) => state === 'idle')
    await until(gone, { what: 'the stubborn statement to go' })
  },
)

test(
  'a hold that times out while its release waits for a statement is settled once',
  { needs: ['cancel'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo, {
      maxHoldMillis: 150,
      releaseGraceMillis: 5_000,
    })
    const reasons: string[] = []
    manager.on('rollback', ({ reason: why }) => reasons.push(why))
    const held = manager.use(async (connection) => {
      await connection.query('SELECT 1')
      connection.query('SELECT pg_sleep(20)').catch(() => {})
    })
    assert.ok((await reason(held)) instanceof HoldTimeoutError)
    await manager.query('SELECT 1')
    assert.deepEqual(reasons, ['hold timeout'])
  },
)
