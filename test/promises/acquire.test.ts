/** `acquire` and `tryAcquire`: the line, time limits, aborting, releasing. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AcquireTimeoutError,
  ConnectError,
  ConnectionReleasedError,
  TooManyWaitingError,
  UncommittedTransactionError,
  type Connection,
} from 'pg-managed-connection'
import { caught, createGate, errorOf, outcome, reason } from '../support/caught.js'
import { freePort } from '../support/free-port.js'
import { ManagedConnection } from '../support/managed.js'
import { startProxy } from '../support/proxy.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'
import { conninfoThrough } from '../support/proxied.js'

const { test, database } = await openSuite()
await database.admin.query('CREATE TABLE t (id int)')

test('a handle is held until it is released', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const connection = await manager.acquire()
  assert.equal(connection.processID, manager.stats.processID)
  let served = false
  const waiter = manager.use(() => (served = true))
  await until(() => manager.stats.waiting === 1, { what: 'the waiter to stand in line' })
  assert.equal(served, false)
  await connection.release()
  await waiter
})

test('waiters are served strictly in the order of asking; a newcomer does not overtake', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const order: number[] = []
  const first = await manager.acquire()
  const waiters = [1, 2, 3].map((n) =>
    manager.use(() => {
      order.push(n)
    }),
  )
  const released = first.release()
  const newcomer = manager.use(() => {
    order.push(4)
  })
  await Promise.all([released, newcomer, ...waiters])
  assert.deepEqual(order, [1, 2, 3, 4])
})

test('timeoutMillis rejects in time, and says how long, how many wait and since when it is held', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const held = await manager.acquire()
  const other = manager.acquire()
  const startedAt = performance.now()
  const error = await caught(manager.acquire({ timeoutMillis: 100 }), AcquireTimeoutError)
  const took = performance.now() - startedAt
  assert.ok(took > 90 && took < 5_000, `took ${took}`)
  assert.equal(error.timeoutMillis, 100)
  assert.equal(error.waiting, 1)
  assert.ok(error.heldMillis! >= 90)
  assert.match(
    error.message,
    /100ms.*waiting=1.*held for \d+ms.*if this task holds it itself.*traceHolders: true/,
  )
  assert.equal(error.holderStack, null)
  assert.equal(manager.stats.timeouts, 1)
  await held.release()
  await (await other).release()
})

test(
  'the option acquireTimeoutMillis is the default of a call, of one-shots and batches too',
  { needs: ['parallel'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo, { acquireTimeoutMillis: 50 })
    const held = await manager.acquire({ timeoutMillis: 10_000 })
    const errors = await Promise.all([
      caught(manager.acquire(), AcquireTimeoutError),
      caught(
        manager.use(() => {}),
        AcquireTimeoutError,
      ),
      caught(
        manager.transaction(() => {}),
        AcquireTimeoutError,
      ),
      caught(manager.query('SELECT 1'), AcquireTimeoutError),
      caught(manager.batch(['SELECT 1']), AcquireTimeoutError),
    ])
    for (const error of errors) assert.equal(error.timeoutMillis, 50)
    assert.equal(new Set(errors).size, 5)
    await held.release()
  },
)

test('traceHolders: the message shows where the holder acquired it', async () => {
  await using manager = new ManagedConnection(database.conninfo, { traceHolders: true })
  async function theHolderOfTheConnection(): Promise<Connection> {
    return manager.acquire()
  }
  const held = await theHolderOfTheConnection()
  const error = await caught(manager.acquire({ timeoutMillis: 10 }), AcquireTimeoutError)
  assert.match(error.holderStack!, /theHolderOfTheConnection/)
  assert.match(error.message, /theHolderOfTheConnection/)
  assert.doesNotMatch(error.holderStack!, /dist\/lease/)
  await held.release()
})

test('timeoutMillis: 0 does not wait in line', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const held = await manager.acquire({ timeoutMillis: 0 }) // connects, which is not waiting in line
  const error = await caught(manager.acquire({ timeoutMillis: 0 }), AcquireTimeoutError)
  assert.equal(error.timeoutMillis, 0)
  assert.equal(manager.stats.waiting, 0)
  await caught(
    manager.use(() => {}, { timeoutMillis: 0 }),
    AcquireTimeoutError,
  )
  await held.release()
  await (await manager.acquire({ timeoutMillis: 0 })).release()
})

test(
  'timeoutMillis: Infinity waits as long as it takes, and keeps no timer',
  { needs: ['parallel'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo, { acquireTimeoutMillis: 20 })
    const held = await manager.acquire({ timeoutMillis: 10_000 })
    const waiter = manager.acquire({ timeoutMillis: Infinity })
    await sleep(100)
    await until(() => manager.stats.waiting === 1, { what: 'the patient waiter to stand in line' })
    await held.release()
    await (await within(waiter, 'the patient waiter')).release()
  },
)

test('the time limit includes connecting', { needs: ['wire'] }, async () => {
  await using proxy = await startProxy(database.login)
  proxy.pause()
  await using manager = new ManagedConnection(conninfoThrough(proxy, database))
  const startedAt = performance.now()
  await caught(manager.acquire({ timeoutMillis: 100 }), AcquireTimeoutError)
  assert.ok(performance.now() - startedAt < 5_000)
  proxy.resume()
  await manager.query('SELECT 1')
})

test(
  'when all who wait have left, the attempt to connect is given up and leaks no connection',
  { needs: ['wire'] },
  async () => {
    await using proxy = await startProxy(database.login)
    proxy.pause('toClient')
    await using manager = new ManagedConnection(conninfoThrough(proxy, database))
    await caught(manager.acquire({ timeoutMillis: 50 }), AcquireTimeoutError)
    proxy.resume()
    await until(() => proxy.connections.length === 0, { what: 'the connection to go' })
    assert.equal(manager.closed, true)
  },
)

test(
  'an aborted signal rejects with its reason, at once, and the waiter has left the line',
  { needs: ['own thread'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const held = await manager.acquire()
    const controller = new AbortController()
    const own = new Error('changed my mind')
    const waiter = manager.acquire({ signal: controller.signal })
    assert.equal(manager.stats.waiting, 1)
    controller.abort(own)
    assert.equal(await reason(waiter), own)
    assert.equal(manager.stats.waiting, 0)
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
    await held.release()
  },
)

test(
  'a signal that is aborted already rejects before anything is done',
  { needs: ['own thread'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const own = new Error('from the start')
    const signal = AbortSignal.abort(own)
    assert.equal(await reason(manager.acquire({ signal })), own)
    assert.equal(await reason(manager.use(() => {}, { signal })), own)
    assert.equal(await reason(manager.transaction(() => {}, { signal })), own)
    assert.equal(await reason(manager.batch(['SELECT 1'], { signal })), own)
    assert.equal(await reason(manager.tryAcquire({ signal })), own)
    assert.equal(manager.closed, true)
  },
)

test(
  'a signal that was granted its turn is let go, and an abort later changes nothing',
  { needs: ['own thread'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const controller = new AbortController()
    const connection = await manager.acquire({ signal: controller.signal })
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
    controller.abort()
    await connection.query('SELECT 1')
    await connection.commit()
    await connection.release()
  },
)

test('aborting while it connects rejects at once', { needs: ['wire'] }, async () => {
  await using proxy = await startProxy(database.login)
  proxy.pause()
  await using manager = new ManagedConnection(conninfoThrough(proxy, database))
  const controller = new AbortController()
  const waiter = reason(manager.acquire({ signal: controller.signal }))
  await until(() => proxy.connections.length === 1, { what: 'the attempt' })
  controller.abort(new Error('no more'))
  assert.equal(((await within(waiter, 'the abort', 2_000)) as Error).message, 'no more')
  proxy.resume()
})

test(
  'no ghost waiter: one that timed out or was aborted is never handed the connection',
  { needs: ['own thread'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const held = await manager.acquire()
    const controller = new AbortController()
    const late = reason(manager.acquire({ timeoutMillis: 20 }))
    const aborted = reason(manager.acquire({ signal: controller.signal }))
    const patient = manager.acquire()
    controller.abort(new Error('gone'))
    assert.ok((await late) instanceof AcquireTimeoutError)
    await aborted
    await held.release()
    const connection = await within(patient, 'the patient waiter')
    assert.equal(manager.stats.acquires, 2)
    await connection.release()
    assert.equal(manager.stats.held, false)
  },
)

test(
  'no ghost waiter: one whose time passes while the loop is blocked declines its turn',
  { needs: ['own thread'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const held = await manager.acquire()
    const late = reason(manager.acquire({ timeoutMillis: 30 }))
    const blockedUntil = performance.now() + 60
    while (performance.now() < blockedUntil); // the timer cannot fire
    await held.release()
    assert.ok((await late) instanceof AcquireTimeoutError)
    assert.equal(manager.stats.acquires, 1)
    await manager.use(() => {})
  },
)

test('maxWaiting: a longer line refuses the newcomer at once', async () => {
  await using manager = new ManagedConnection(database.conninfo, { maxWaiting: 2 })
  const held = await manager.acquire()
  const waiters = [manager.use(() => {}), manager.query('SELECT 1')]
  const error = await caught(
    manager.use(() => {}),
    TooManyWaitingError,
  )
  assert.equal(error.maxWaiting, 2)
  assert.match(error.message, /maxWaiting=2/)
  await caught(manager.query('SELECT 1'), TooManyWaitingError)
  await caught(manager.batch(['SELECT 1']), TooManyWaitingError)
  assert.equal(manager.stats.waiting, 2)
  await held.release()
  await Promise.all(waiters)
  await manager.use(() => {})
})

test('maxWaiting: 0 serves only who need not wait', async () => {
  await using manager = new ManagedConnection(database.conninfo, { maxWaiting: 0 })
  await manager.query('SELECT 1')
  const held = await manager.acquire()
  await caught(manager.acquire(), TooManyWaitingError)
  await held.release()
  await (await manager.acquire()).release()
})

test('maxWaiting counts those who wait for the connection to open, too', { needs: ['wire'] }, async () => {
  await using proxy = await startProxy(database.login)
  proxy.pause()
  await using manager = new ManagedConnection(conninfoThrough(proxy, database), { maxWaiting: 2 })
  const first = manager.use(() => {})
  const second = manager.use(() => {})
  await caught(
    manager.use(() => {}),
    TooManyWaitingError,
  )
  proxy.resume()
  await Promise.all([first, second])
})

test('tryAcquire connects if closed, and is null when someone holds it or waits', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const connection = await manager.tryAcquire()
  assert.ok(connection !== null)
  await connection.query('SELECT 1')
  await connection.commit()
  assert.equal(await manager.tryAcquire(), null)
  await connection.release()
  const again = await manager.tryAcquire({ autocommit: true })
  assert.equal(again?.autocommit, true)
  await again!.release()
})

test('tryAcquire is null while a one-shot or a COMMIT is unanswered', { needs: ['cancel'] }, async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const slow = manager.query('SELECT pg_sleep(0.1)')
  await until(() => manager.stats.inFlight === 1, { what: 'it to be sent' })
  assert.equal(await manager.tryAcquire(), null)
  await slow
  const free = await manager.tryAcquire()
  assert.ok(free !== null)
  await free.release()
})

test('tryAcquire is null inside a callback that holds the connection', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  assert.equal(await manager.use(() => manager.tryAcquire()), null)
})

test('tryAcquire is null for the second of two who ask a closed connection at once', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const [one, two] = await Promise.all([manager.tryAcquire(), manager.tryAcquire()])
  assert.ok(one !== null)
  assert.equal(two, null)
  await one.release()
})

test('release is idempotent, and does not give away the turn of somebody else', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const first = await manager.acquire()
  await first.release()
  const second = await manager.acquire()
  const third = manager.acquire()
  await Promise.all([first.release(), first.release(), first[Symbol.asyncDispose]()])
  await until(() => manager.stats.waiting === 1, { what: 'the third to wait' })
  await second.query('SELECT 1')
  await second.commit()
  await second.release()
  await (await third).release()
})

test('two releases at once settle once: the first tells the error, the second resolves', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const connection = await manager.acquire()
  await connection.query('SELECT 1')
  const [first, second] = await Promise.allSettled([connection.release(), connection.release()])
  assert.equal(first.status, 'rejected')
  assert.ok((first as PromiseRejectedResult).reason instanceof UncommittedTransactionError)
  assert.equal(second.status, 'fulfilled')
  await connection.release()
})

test('after release the handle is a tombstone: what would reach the server is refused', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const connection = await manager.acquire()
  await connection.release()
  await using other = await manager.acquire()
  await caught(connection.query('INSERT INTO t VALUES (1)'), ConnectionReleasedError)
  await caught(connection.query({ text: 'SELECT 1', rowMode: 'array' }), ConnectionReleasedError)
  await caught(connection.commit(), ConnectionReleasedError)
  await caught(connection.rollback(), ConnectionReleasedError)
  await caught(
    connection.transaction(() => assert.fail('it ran')),
    ConnectionReleasedError,
  )
  assert.throws(() => (connection.autocommit = true), ConnectionReleasedError)
  assert.equal(connection.status, 'unknown')
  assert.equal(connection.processID, null)
  const byCallback = await new Promise((resolve) => connection.query('SELECT 1', (error) => resolve(error)))
  assert.ok(byCallback instanceof ConnectionReleasedError)
  assert.equal((await other.query('SELECT 1 AS one')).rows[0].one, 1)
  await other.commit()
  assert.equal((await database.admin.rows('SELECT * FROM t')).length, 0)
})

test('a tombstone that is used inside the next transaction adds nothing to it', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  let stale: Connection | undefined
  await manager.use((connection) => {
    stale = connection
  })
  await manager.transaction(async (connection) => {
    await connection.query('INSERT INTO t VALUES (1)')
    await caught(stale!.query('INSERT INTO t VALUES (2)'), ConnectionReleasedError)
    await caught(stale!.rollback(), ConnectionReleasedError)
  })
  assert.deepEqual(await database.admin.rows('DELETE FROM t RETURNING id'), [{ id: 1 }])
})

test('the handle of a transaction is a tombstone after it, and so are the nested ones of its own', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  let outer: Connection | undefined
  let nested: Connection | undefined
  await manager.transaction(async (connection) => {
    outer = connection
    await connection.transaction(async (child) => {
      nested = child
      await child.query('SELECT 1')
    })
    const over = await caught(nested!.query('SELECT 1'), ConnectionReleasedError)
    assert.match(over.message, /nested/)
    await connection.query('SELECT 1')
  })
  for (const handle of [outer!, nested!]) {
    await caught(handle.query('SELECT 1'), ConnectionReleasedError)
    await caught(
      handle.transaction(() => {}),
      ConnectionReleasedError,
    )
    assert.equal(handle.status, 'unknown')
    await handle.release()
  }
})

test('a nested handle that outlives its parent reaches nothing of the next holder', async () => {
  await using manager = new ManagedConnection(database.conninfo, { acquireTimeoutMillis: 2_000 })
  const parent = await manager.acquire()
  const gate = createGate()
  let nested: Connection | undefined
  const endless = outcome(
    parent.transaction(async (child) => {
      await child.query('INSERT INTO t VALUES (1)')
      nested = child
      await gate.opened
      await child.query('INSERT INTO t VALUES (2)')
    }),
  )
  try {
    await until(() => nested !== undefined, { what: 'the insert' })
    await caught(parent.release(), UncommittedTransactionError)
    await manager.transaction(async (connection) => {
      await connection.query('INSERT INTO t VALUES (3)')
      gate.open()
      assert.ok(errorOf(await endless) instanceof ConnectionReleasedError)
      await caught(nested!.query('INSERT INTO t VALUES (4)'), ConnectionReleasedError)
      await caught(nested!.commit(), ConnectionReleasedError)
    })
    assert.deepEqual(await database.admin.rows('DELETE FROM t RETURNING id'), [{ id: 3 }])
  } finally {
    gate.open()
    await manager.end({ timeoutMillis: 500 })
    await endless
  }
})

test('await using releases at the end of the block', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  {
    await using connection = await manager.acquire()
    await connection.query('SELECT 1')
    await connection.commit()
    assert.equal(manager.stats.held, true)
  }
  assert.equal(manager.stats.held, false)
})

test('a connect that fails rejects everyone who waits, each with an error of its own, and nobody hangs', async () => {
  const port = await freePort()
  await using manager = new ManagedConnection(`host=127.0.0.1 port=${port} user=nobody dbname=none`)
  const errors = await Promise.all([
    caught(manager.acquire(), ConnectError),
    caught(
      manager.use(() => {}),
      ConnectError,
    ),
    caught(
      manager.transaction(() => {}),
      ConnectError,
    ),
    caught(manager.query('SELECT 1'), ConnectError),
    caught(manager.batch(['SELECT 1']), ConnectError),
  ])
  assert.equal(new Set(errors).size, 5)
  for (const { errors: tried } of errors) {
    assert.equal(tried.length, 1)
    assert.match(tried[0]!.message, /refused/)
  }
  await caught(manager.acquire(), ConnectError)
  assert.equal(manager.closed, true)
  assert.equal(manager.stats.waiting, 0)
})

test('10,000 waiters are served, and those in the middle can leave', { needs: ['parallel'] }, async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const held = await manager.acquire()
  const controller = new AbortController()
  let served = 0
  const waiters = Array.from({ length: 10_000 }, () => manager.use(() => void served++))
  const leaving = [1, 2, 3].map(() => reason(manager.acquire({ signal: controller.signal })))
  controller.abort()
  await Promise.all(leaving)
  await held.release()
  // So many that it is a question of the machine.
  await within(Promise.all(waiters), 'all waiters', 50_000)
  assert.equal(served, 10_000)
})

test(
  'a hundred waiters and statements may share one signal without a warning, and all leave when it aborts',
  { needs: ['cancel'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const abort = new AbortController()
    const why = new Error('shutting down')
    const holder = await manager.acquire()
    const waiting = Array.from({ length: 100 }, () => reason(manager.acquire({ signal: abort.signal })))
    const statements = Array.from({ length: 20 }, () =>
      reason(holder.query({ text: 'SELECT pg_sleep(5)', signal: abort.signal })),
    )
    assert.equal(getEventListeners(abort.signal, 'abort').length, 1)
    abort.abort(why)
    for (const error of await Promise.all([...waiting, ...statements])) assert.equal(error, why)
    assert.equal(getEventListeners(abort.signal, 'abort').length, 0)
    await holder.rollback()
    await holder.release()
  },
)
