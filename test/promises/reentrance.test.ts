/** Asking inside a holder's callback for what would wait for that callback. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectError, AcquireTimeoutError, ReentrantAcquireError } from 'pg-managed-connection'
import { caught, createGate, reason } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { openSuite } from '../support/suite.js'
import { within } from '../support/wait.js'

const { test, database } = await openSuite()

type Ask = (manager: ManagedConnection) => Promise<unknown>

const MEMBERS: Readonly<Record<string, Ask>> = {
  use: (manager) => manager.use(() => {}),
  acquire: (manager) => manager.acquire(),
  transaction: (manager) => manager.transaction(() => {}),
  query: (manager) => manager.query('SELECT 1'),
  batch: (manager) => manager.batch(['SELECT 1']),
  close: (manager) => manager.close(),
  end: (manager) => manager.end(),
}

for (const how of ['use', 'transaction'] as const) {
  for (const [member, ask] of Object.entries(MEMBERS)) {
    const needs = member === 'end' ? (['own thread'] as const) : []
    test(`${member}() inside a ${how} callback is refused at once`, { needs }, async () => {
      await using manager = new ManagedConnection(database.conninfo)
      await manager[how](async () => {
        const error = await caught(within(ask(manager), 'the refusal', 1_000), ReentrantAcquireError)
        assert.equal(error.member, member)
        assert.equal(error.retrySafe, true)
        assert.match(error.message, new RegExp(`${member}\\(\\).*detached`))
        const isOfAll = member === 'end' || member === 'close'
        assert.equal(/use the connection that the callback was given/.test(error.message), !isOfAll)
      })
      await manager.query('SELECT 1')
    })
  }
}

test('a callback of query() inside a callback hears of the refusal', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async () => {
    const error = await new Promise((resolve) => manager.query('SELECT 1', (refused) => resolve(refused)))
    assert.ok(error instanceof ReentrantAcquireError)
  })
})

test('inside a nested transaction it is refused, too', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async (connection) => {
    await connection.transaction(async () => {
      await caught(manager.query('SELECT 1'), ReentrantAcquireError)
    })
    await caught(manager.query('SELECT 1'), ReentrantAcquireError)
  })
})

test('a helper that awaits something first is inside all the same', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  async function helper(): Promise<unknown> {
    await sleep(5)
    await new Promise((resolve) => setImmediate(resolve))
    return manager.query('SELECT 1')
  }
  await manager.use(async (connection) => {
    await connection.query('SELECT 1')
    await caught(helper(), ReentrantAcquireError)
    const behindCallback = await new Promise<Promise<unknown>>((resolve) => {
      connection.query('SELECT 1', () => resolve(manager.query('SELECT 1')))
    }).catch((error: unknown) => error)
    assert.ok(behindCallback instanceof ReentrantAcquireError)
    await connection.commit()
  })
})

test('siblings in a Promise.all are not inside each other', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const results = await Promise.all([
    manager.use(async () => {
      await sleep(20)
      return 1
    }),
    manager.use(() => 2),
    manager.transaction(() => 3),
    manager.query('SELECT 4 AS n').then(({ rows }) => rows[0].n as number),
  ])
  assert.deepEqual(results, [1, 2, 3, 4])
})

test('detached: true waits instead, for work that the callback does not await', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const later: Promise<unknown>[] = []
  await manager.use(async (connection) => {
    later.push(
      manager.use(() => 'use', { detached: true }),
      manager.transaction(() => 'transaction', { detached: true }),
      manager.batch(['SELECT 1'], { detached: true }).then(() => 'batch'),
      manager.acquire({ detached: true }).then(async (other) => {
        await other.release()
        return 'acquire'
      }),
    )
    await connection.query('SELECT 1')
    await connection.commit()
  })
  assert.deepEqual(await Promise.all(later), ['use', 'transaction', 'batch', 'acquire'])
})

test('a query, close() and end() may be detached, too', async () => {
  const detached: Readonly<Record<string, Ask>> = {
    query: (manager) => manager.query({ text: 'SELECT 1', detached: true }),
    close: (manager) => manager.close({ detached: true }),
    end: (manager) => manager.end({ detached: true }),
  }
  for (const ask of Object.values(detached)) {
    await using manager = new ManagedConnection(database.conninfo)
    const order: string[] = []
    const asked = await manager.use(() => {
      const asked = ask(manager).then(() => order.push('asked'))
      order.push('held')
      return { asked }
    })
    await asked.asked
    assert.deepEqual(order, ['held', 'asked'])
  }
})

test('detached work that waits too long is told who holds the connection', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async () => {
    await caught(
      manager.use(() => {}, { detached: true, timeoutMillis: 20 }),
      AcquireTimeoutError,
    )
  })
})

test('what a callback left behind may ask once the callback has settled', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const gate = createGate()
  let behind: Promise<unknown> | undefined
  await manager.use(() => {
    behind = gate.opened.then(() => manager.query('SELECT 1 AS n'))
  })
  gate.open()
  assert.deepEqual(((await behind) as { rows: unknown }).rows, [{ n: 1 }])
})

test('a callback that threw has settled, too', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const gate = createGate()
  let behind: Promise<unknown> | undefined
  await reason(
    manager.use(() => {
      behind = gate.opened.then(() => manager.use(() => 'served'))
      throw new Error('mine')
    }),
  )
  gate.open()
  assert.equal(await behind, 'served')
})

test('two managers nest in each other, and each still refuses its own', { needs: ['sessions'] }, async () => {
  await using one = new ManagedConnection(database.conninfo)
  await using two = new ManagedConnection(database.conninfo)
  const answer = await one.use(() =>
    two.use(async (inner) => {
      await caught(one.query('SELECT 1'), ReentrantAcquireError)
      await caught(two.query('SELECT 1'), ReentrantAcquireError)
      const { rows } = await inner.query('SELECT 1 AS n')
      await inner.commit()
      return rows[0].n as number
    }),
  )
  assert.equal(answer, 1)
  await one.use(() => two.query('SELECT 1'))
  await two.use(async () => {
    await caught(two.query('SELECT 1'), ReentrantAcquireError)
    await one.use(() => caught(two.query('SELECT 1'), ReentrantAcquireError))
    await caught(two.query('SELECT 1'), ReentrantAcquireError)
  })
})

test('a handle from acquire() marks no context: a second ask waits, and times out naming the holder', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const connection = await manager.acquire()
  const error = await caught(manager.acquire({ timeoutMillis: 30 }), AcquireTimeoutError)
  assert.match(error.message, /held for \d+ms/)
  const waiter = manager.use(() => 'served')
  await connection.release()
  assert.equal(await waiter, 'served')
})

test('an acquire in one task does not refuse an independent one', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const first = await manager.acquire()
  const independent = manager.query('SELECT 1')
  await first.release()
  await independent
})

for (const [member, ask] of [
  ...Object.entries(MEMBERS),
  ['tryAcquire', (manager) => manager.tryAcquire()] as [string, Ask],
]) {
  test(`${member}() from onConnect is refused at once`, { needs: ['own thread'] }, async () => {
    let error: unknown
    await using manager: ManagedConnection = new ManagedConnection(database.conninfo, {
      onConnect: async () => {
        await sleep(1)
        error = await reason(within(ask(manager), 'the refusal', 1_000))
      },
    })
    await manager.query('SELECT 1')
    assert.ok(error instanceof ReentrantAcquireError, String(error))
    assert.equal(error.member, member)
    assert.match(error.message, /onConnect/)
  })
}

test('detached does not help in onConnect', { needs: ['own thread'] }, async () => {
  await using manager: ManagedConnection = new ManagedConnection(database.conninfo, {
    onConnect: async () => void (await manager.use(() => {}, { detached: true })),
  })
  const error = await caught(
    manager.use(() => {}),
    ConnectError,
  )
  assert.ok(error.errors[0] instanceof ReentrantAcquireError || error.cause instanceof ReentrantAcquireError)
})

test('what onConnect left behind may ask once it has settled', async () => {
  let behind: Promise<unknown> | undefined
  const gate = createGate()
  await using manager: ManagedConnection = new ManagedConnection(database.conninfo, {
    onConnect: () => {
      behind = gate.opened.then(() => manager.query('SELECT 1'))
    },
  })
  await manager.use(() => {})
  gate.open()
  await behind
})

test(
  'onConnect that runs for a holder’s own reconnect is refused, and the holder goes on',
  { needs: ['kill', 'own thread'] },
  async () => {
    let refused: unknown
    await using manager: ManagedConnection = new ManagedConnection(database.conninfo, {
      onConnect: async () => {
        refused = await reason(manager.query('SELECT 1'))
      },
    })
    await manager.use(async (connection) => {
      await database.admin.terminate(connection.processID!)
      await connection.query('SELECT 1')
      await connection.commit()
    })
    assert.ok(refused instanceof ReentrantAcquireError)
    assert.equal(manager.stats.connects, 2)
  },
)
