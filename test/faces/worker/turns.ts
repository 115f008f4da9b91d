/** Tests of turns, for every face: who holds the connection, and how it is given back. */
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AcquireTimeoutError,
  CommitRolledBackError,
  ConnectError,
  ConnectionLostError,
  ConnectionReleasedError,
  HoldTimeoutError,
  ManagedConnection,
  ManagerEndedError,
  ReentrantAcquireError,
  TooManyWaitingError,
  UncommittedTransactionError,
  UnfinishedStatementError,
  type Connection,
  type Manager,
} from 'pg-managed-connection'
import { attach, share } from 'pg-managed-connection/worker'
import { caught, createGate, outcome, reason } from '../../support/caught.js'
import { until, within } from '../../support/wait.js'
import type { Suite } from '../../support/worker/face.js'

/** Nobody keeps the connection, and it can be opened. */
async function serves(manager: Manager): Promise<void> {
  const served = manager.use(() => 'served')
  assert.equal(await within(served, 'the next to be served', 5_000), 'served')
}

export function testTurns({ test, database, face }: Suite): void {
  test('use gives what work returns, and work its connection', async () => {
    await using faced = face.open()
    const { manager } = faced
    assert.equal(manager.closed, true)
    const one = await manager.use(async (connection) => {
      assert.equal(connection.status, 'idle')
      assert.equal(connection.autocommit, false)
      const { rows } = await connection.query<{ one: number }>('SELECT 1 AS one')
      assert.equal(connection.status, 'intrans')
      assert.equal(typeof connection.processID, 'number')
      await connection.commit()
      assert.equal(connection.status, 'idle')
      return rows[0]!.one
    })
    assert.equal(one, 1)
    assert.equal(manager.closed, false)
    assert.equal(await manager.use(() => 2), 2)
  })

  test('what work throws comes out as the same object, after a rollback', async () => {
    await using faced = face.open()
    const { manager } = faced
    await manager.query('CREATE TABLE IF NOT EXISTS thrown (id int)')
    const own = Object.assign(new Error('own'), { deep: { fn: () => 1 } })
    for (const verb of ['use', 'transaction'] as const) {
      const error = await reason(
        manager[verb](async (connection) => {
          await connection.query('INSERT INTO thrown VALUES (1)')
          throw own
        }),
      )
      assert.equal(error, own)
    }
    assert.equal(await reason(manager.use(() => Promise.reject(null as never))), null)
    const { rows } = await manager.query('SELECT count(*)::int AS n FROM thrown')
    assert.equal(rows[0].n, 0)
  })

  test('a forgotten commit is rolled back and reported', async () => {
    await using faced = face.open()
    const error = await caught(
      faced.manager.use((connection) => connection.query('SELECT 41 + 1')),
      UncommittedTransactionError,
    )
    assert.match(error.message, /^Did not commit or rollback open transaction before releasing connection/)
    assert.equal(error.code, 'ERR_UNCOMMITTED_TRANSACTION')
    assert.equal(error.statement, 'SELECT 41 + 1')
    assert.equal(error.retrySafe, true)
    assert.equal(error.name, 'UncommittedTransactionError')
  })

  test('the cause of a swallowed failure is kept', async () => {
    await using faced = face.open()
    const error = await caught(
      faced.manager.transaction(async (connection) => {
        await connection.query('SELECT 1 / 0').catch(() => {})
      }),
      CommitRolledBackError,
    )
    assert.equal((error.cause as { code?: string }).code, '22012')
  })

  test('there are never two holders at once, and they come in order of asking', async () => {
    await using faced = face.open()
    const { manager } = faced
    let inside = 0
    const order: number[] = []
    const work = async (n: number): Promise<void> => {
      assert.equal(++inside, 1)
      order.push(n)
      await sleep(n % 3)
      inside--
    }
    await Promise.all(
      Array.from({ length: 30 }, async (_, n) => {
        if (n % 3 === 0) return manager.use(() => work(n))
        if (n % 3 === 1)
          return manager.transaction(async (connection) => {
            await connection.query('SELECT 1')
            await work(n)
          })
        const connection = await manager.acquire()
        await work(n)
        return connection.release()
      }),
    )
    assert.deepEqual(
      order,
      Array.from({ length: 30 }, (_, n) => n),
    )
  })

  test('a released handle is a tombstone', async () => {
    await using faced = face.open()
    const { manager } = faced
    const connection = await manager.acquire()
    await connection.query('SELECT 1')
    await connection.rollback()
    await connection.release()
    await connection.release()
    await caught(connection.query('SELECT 1'), ConnectionReleasedError)
    await caught(connection.commit(), ConnectionReleasedError)
    await caught(
      connection.transaction(() => {}),
      ConnectionReleasedError,
    )
    assert.equal(connection.status, 'unknown')
    assert.equal(connection.processID, null)
    let kept: Connection | undefined
    await manager.use((given) => {
      kept = given
    })
    await caught(kept!.query('SELECT 1'), ConnectionReleasedError)
  })

  test('a handle that is disposed of with an open transaction is rolled back and reported', async () => {
    await using faced = face.open()
    const connection = await faced.manager.acquire()
    await connection.query('SELECT 1')
    await caught(connection.release(), UncommittedTransactionError)
    await connection[Symbol.asyncDispose]()
  })

  test('statements that nobody waited for are reported', async () => {
    await using faced = face.open()
    const error = await caught(
      faced.manager.use((connection) => {
        void connection.query('SELECT pg_sleep(0.05)')
      }),
      UnfinishedStatementError,
    )
    assert.deepEqual(error.statements, ['SELECT pg_sleep(0.05)'])
    await faced.manager.query('SELECT 1')
  })

  test('autocommit: by option, by the handle, and only while nothing is open', async () => {
    await using faced = face.open()
    const { manager } = faced
    await manager.use(
      async (connection) => {
        assert.equal(connection.autocommit, true)
        await connection.query('SELECT 1')
        assert.equal(connection.status, 'idle')
        connection.autocommit = false
        await connection.query('SELECT 1')
        assert.equal(connection.status, 'intrans')
        assert.throws(() => (connection.autocommit = true), { code: 'ERR_TRANSACTION_ORDER' })
        await connection.commit()
        connection.autocommit = true
        await connection.query('VACUUM')
      },
      { autocommit: true },
    )
    await using other = face.open({ autocommit: true })
    await other.manager.use((connection) => {
      assert.equal(connection.autocommit, true)
    })
  })

  test('close: after the holder, and by itself', async () => {
    await using faced = face.open()
    const { manager } = faced
    await manager.use(() => {}, { close: true })
    assert.equal(faced.owner.closed, true)
    await manager.query('SELECT 1')
    assert.equal(faced.owner.closed, false)
    await manager.close()
    assert.equal(faced.owner.closed, true)
    await until(() => manager.closed, { what: 'the figures to say closed' })
    assert.equal(manager.status, null)
  })

  test('an ask that runs out of time says who holds the connection, and has left the line', async () => {
    await using faced = face.open({ maxWaiting: 2 })
    const { manager } = faced
    const gate = createGate()
    const holder = manager.use(() => gate.opened)
    await until(() => faced.owner.stats.held, { what: 'the holder' })
    const error = await caught(
      manager.use(() => {}, { timeoutMillis: 30 }),
      AcquireTimeoutError,
    )
    assert.equal(error.timeoutMillis, 30)
    assert.equal(typeof error.heldMillis, 'number')
    assert.match(error.message, /timed out after 30ms \(waiting=\d, held for \d+ms/)
    await caught(manager.acquire({ timeoutMillis: 0 }), AcquireTimeoutError)
    assert.equal(await manager.tryAcquire(), null)
    const waiting = [manager.use(() => 1), manager.query('SELECT 1')]
    await until(() => manager.stats.waiting === 2, { what: 'two to wait' })
    const refused = await caught(
      manager.use(() => {}),
      TooManyWaitingError,
    )
    assert.equal(refused.maxWaiting, 2)
    gate.open()
    await Promise.all([holder, ...waiting])
    const free = await until(() => manager.tryAcquire(), { what: 'the connection to be free' })
    await free.release()
  })

  test('an aborted ask rejects with the reason, and the others are served', async () => {
    await using faced = face.open()
    const { manager } = faced
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
    assert.equal(await reason(manager.query({ text: 'SELECT 1', signal: controller.signal })), why)
  })

  test('an ask that is aborted in the same tick does not keep the manager from connecting', async () => {
    await using faced = face.open()
    const abort = new AbortController()
    const why = new Error('enough')
    const asked = reason(faced.manager.use(() => {}, { signal: abort.signal }))
    abort.abort(why)
    assert.equal(await asked, why)
    await serves(faced.manager)
  })

  test('an abort that crosses with the grant gives the turn back', async () => {
    await using faced = face.open()
    await faced.manager.query('SELECT 1')
    for (let ticks = 0; ticks < 20; ticks++) {
      const gate = createGate()
      const holder = faced.owner.use(() => gate.opened)
      const abort = new AbortController()
      const asked = outcome(faced.manager.use(() => 'held', { signal: abort.signal }))
      await until(() => faced.owner.stats.waiting === 1, { what: 'one to wait' })
      gate.open()
      await holder
      // At one of these moments the owner has granted the turn, and its word is on its way.
      for (let tick = 0; tick < ticks; tick++) await Promise.resolve()
      abort.abort()
      await asked
      await serves(faced.manager)
    }
  })

  test('a callback that releases its handle itself is judged as if it had returned', async () => {
    await using faced = face.open()
    const holder = faced.manager.use(async (connection) => {
      await connection.query('SELECT 1')
      connection.release().catch(() => {})
    })
    await caught(holder, UncommittedTransactionError)
    await serves(faced.manager)
  })

  test('a statement that is aborted before its turn has come never runs', async () => {
    await using faced = face.open()
    const { manager } = faced
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

  test('a limit of a statement that is none is that query’s error, and nobody else’s', async () => {
    await using faced = face.open()
    const { manager } = faced
    await manager.use(async (connection) => {
      for (const timeoutMillis of [-1, NaN, '100']) {
        const error = await reason(
          connection.query({ text: 'SELECT 1', timeoutMillis: timeoutMillis as number }),
        )
        assert.match((error as Error).message, /^timeoutMillis must be/)
      }
      await connection.query('SELECT 1')
      await connection.commit()
    })
    assert.throws(
      () => manager.query('CREATE TABLE not_made ()', 'no function' as never, 5 as never),
      TypeError,
    )
    await assert.rejects(manager.query('SELECT FROM not_made'), { code: '42P01' })
  })

  test('a hold that is too long is taken back', async () => {
    await using faced = face.open({ maxHoldMillis: 60 })
    const { manager } = faced
    let handle: Connection | undefined
    const late = createGate()
    const stuck = manager.use(async (connection) => {
      handle = connection
      await connection.query('SELECT 1')
      await late.opened
      throw new Error('nobody hears of it')
    })
    const next = manager.query('SELECT 2 AS two')
    const error = await caught(stuck, HoldTimeoutError)
    assert.equal(error.maxHoldMillis, 60)
    await caught(handle!.query('SELECT 1'), HoldTimeoutError)
    assert.equal((await next).rows[0].two, 2)
    late.open()
    await sleep(5)
    const running = await outcome(manager.use((connection) => connection.query('SELECT pg_sleep(30)')))
    assert.ok(running.status === 'rejected' && running.reason instanceof HoldTimeoutError)
    await manager.query('SELECT 1')
    const acquired = await manager.acquire()
    await caught(acquired.query('SELECT pg_sleep(30)'), HoldTimeoutError)
    await caught(acquired.release(), HoldTimeoutError)
  })

  test('a callback that asks for another turn is told so', async () => {
    await using faced = face.open()
    const { manager } = faced
    await manager.use(async (connection) => {
      await caught(
        manager.use(() => {}),
        ReentrantAcquireError,
      )
      await caught(manager.acquire(), ReentrantAcquireError)
      await caught(
        manager.transaction(() => {}),
        ReentrantAcquireError,
      )
      const error = await caught(manager.query('SELECT 1'), ReentrantAcquireError)
      assert.equal(error.member, 'query')
      await caught(manager.batch(['SELECT 1']), ReentrantAcquireError)
      await caught(manager.listen('channel'), ReentrantAcquireError)
      await caught(manager.close(), ReentrantAcquireError)
      await caught(manager.end(), ReentrantAcquireError)
      assert.equal(await manager.tryAcquire(), null)
      await connection.transaction(() => caught(manager.query('SELECT 1'), ReentrantAcquireError))
    })
    let detached: Promise<number> | undefined
    await manager.use(async () => {
      detached = manager.use(() => 3, { detached: true })
      await sleep(5)
    })
    assert.equal(await detached, 3)
    const acquired = await manager.acquire()
    const second = await caught(manager.acquire({ timeoutMillis: 20 }), AcquireTimeoutError)
    assert.match(second.message, /held for/)
    await acquired.release()
  })

  test('work runs in the context of its caller', async () => {
    await using faced = face.open()
    const { manager } = faced
    const storage = new AsyncLocalStorage<number>()
    const seen = await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        storage.run(n, () =>
          manager.transaction(async (connection) => {
            await connection.query('SELECT 1')
            return storage.getStore()
          }),
        ),
      ),
    )
    assert.deepEqual(
      seen,
      Array.from({ length: 10 }, (_, n) => n),
    )
  })

  test('a connection that dies is reported, and the next gets a new one', async () => {
    await using faced = face.open()
    const { manager } = faced
    const error = await caught(
      manager.transaction(async (connection) => {
        await connection.query('SELECT 1')
        const { processID } = connection
        assert.equal(typeof processID, 'number')
        await database.admin.query('SELECT pg_terminate_backend($1)', [processID])
        await connection.query('SELECT 1')
      }),
      ConnectionLostError,
    )
    assert.equal(error.commitOutcome, 'none')
    assert.equal(error.retrySafe, true)
    assert.ok(error.cause instanceof Error)
    assert.equal((await manager.query('SELECT 1 AS one')).rows[0].one, 1)
  })

  test('a connect that fails tells each who waits', async () => {
    await using faced = openElsewhere(face.name)
    const asked = [1, 2].map(() =>
      caught(
        faced.manager.use(() => {}),
        ConnectError,
      ),
    )
    const [first, second] = await Promise.all(asked)
    assert.notEqual(first, second)
    assert.ok(first!.errors.length > 0)
    assert.ok(first!.errors[0] instanceof Error)
  })

  test('end refuses new work, serves who waits, and is idempotent', async () => {
    await using faced = face.open()
    const { manager } = faced
    const gate = createGate()
    const holder = manager.use(() => gate.opened)
    const waiting = manager.query('SELECT 1 AS one')
    await until(() => faced.owner.stats.waiting === 1, { what: 'one to wait' })
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
    assert.equal(manager.closed, true)
    assert.equal(manager.status, null)
  })

  test('figures are frozen snapshots', async () => {
    await using faced = face.open()
    const { manager } = faced
    const gate = createGate()
    const holder = manager.use(() => gate.opened)
    const waiting = manager.use(() => {})
    await until(() => manager.stats.waiting === 1, { what: 'one to wait' })
    const { stats } = manager
    assert.ok(Object.isFrozen(stats))
    assert.deepEqual(Object.keys(stats).sort(), Object.keys(faced.owner.stats).sort())
    assert.equal(stats.held, true)
    assert.equal(typeof stats.heldMillis, 'number')
    assert.equal(stats.processID, faced.owner.stats.processID)
    assert.equal(stats.connects, 1)
    gate.open()
    await Promise.all([holder, waiting])
    await until(() => manager.stats.releases === 2, { what: 'the releases' })
    assert.equal(manager.stats.held, false)
    assert.equal(manager.stats.heldMillis, null)
    const { connectedMillis: _mine, ...mine } = manager.stats
    const { connectedMillis: _owners, ...owners } = faced.owner.stats
    assert.deepEqual(mine, owners)
  })

  test('wrong options and arguments are refused', async () => {
    await using faced = face.open()
    const { manager } = faced
    await assert.rejects(manager.use(1 as never), TypeError)
    await assert.rejects(
      manager.use(() => {}, { timeoutMillis: -1 }),
      RangeError,
    )
    await assert.rejects(
      manager.use(() => {}, { autocommit: 1 as never }),
      TypeError,
    )
    await assert.rejects(
      manager.transaction(() => {}, { isolationLevel: 'chaos' as never }),
      TypeError,
    )
    await assert.rejects(
      manager.transaction(() => {}, { retries: -1 }),
      RangeError,
    )
    await assert.rejects(manager.listen(''), TypeError)
    await assert.rejects(manager.listen('channel', { maxBuffered: -1 }), RangeError)
    await assert.rejects(
      manager.use(() => {}, { signal: {} as never }),
      TypeError,
    )
    await assert.rejects(manager.query(null as never), TypeError)
    await assert.rejects(manager.query({ text: (() => {}) as never }), TypeError)
    await assert.rejects(manager.query('SELECT $1', 1 as never), TypeError)
  })
}

/** A manager that has nobody to connect to. */
function openElsewhere(name: string): { readonly manager: ManagedConnection } & AsyncDisposable {
  const owner = new ManagedConnection('host=127.0.0.1 port=1 user=nobody dbname=nothing')
  const manager = name === 'directly' ? owner : attach(share(owner))
  return {
    manager: manager as ManagedConnection,
    async [Symbol.asyncDispose]() {
      await manager.end()
      await owner.end()
    },
  }
}
