/** Whose async context things run in: AsyncLocalStorage of the caller, never of who released. */
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'

import { createGate, settle } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { openSuite } from '../support/suite.js'

const { test, database } = await openSuite()
const storage = new AsyncLocalStorage<string>()

function inside<T>(name: string, work: () => T): T {
  return storage.run(name, work)
}

test('work runs in its caller’s context, whoever released the turn', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const gate = createGate()
  const seen: Record<string, (string | undefined)[]> = {}
  const look = (name: string): void => void (seen[name] ??= []).push(storage.getStore())
  const holder = inside('holder', () => manager.use(() => gate.opened))
  const waiters = ['a', 'b', 'c'].map((name, n) =>
    inside(name, async () => {
      const hold = n === 1 ? manager.transaction.bind(manager) : manager.use.bind(manager)
      await hold(async (connection) => {
        look(name)
        await connection.query('SELECT 1')
        look(name)
        if (n !== 1) await connection.commit()
        look(name)
      })
      look(name)
    }),
  )
  inside('releaser', () => gate.open())
  await Promise.all([holder, ...waiters])
  for (const name of ['a', 'b', 'c']) assert.deepEqual(seen[name], [name, name, name, name])
})

test('what acquire, query and batch resolve goes on in the context of who asked', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const held = await inside('holder', () => manager.acquire())
  const asks = [
    inside('acquire', async () => {
      const connection = await manager.acquire()
      const name = storage.getStore()
      await connection.release()
      return [name, storage.getStore()]
    }),
    inside('query', async () => {
      await manager.query('SELECT 1')
      return [storage.getStore()]
    }),
    inside('batch', async () => {
      await manager.batch(['SELECT 1'])
      return [storage.getStore()]
    }),
    inside(
      'callback',
      () =>
        new Promise<unknown[]>((resolve) => {
          manager.query('SELECT 1', () => resolve([storage.getStore()]))
        }),
    ),
  ]
  await inside('releaser', () => held.release())
  assert.deepEqual(await Promise.all(asks), [['acquire', 'acquire'], ['query'], ['batch'], ['callback']])
})

test('the first connect, made for one caller, does not leak its context to the next', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const names = await Promise.all(
    ['first', 'second', 'third'].map((name) => inside(name, () => manager.use(() => storage.getStore()))),
  )
  assert.deepEqual(names, ['first', 'second', 'third'])
  const oneShot = await inside('later', async () => {
    await manager.query('SELECT 1')
    return storage.getStore()
  })
  assert.equal(oneShot, 'later')
})

test('a connection is opened in nobody’s context, not even of who has made the manager', async () => {
  const seen: unknown[] = []
  const onConnect = (): void => void seen.push(storage.getStore())
  await using manager = inside('maker', () => new ManagedConnection(database.conninfo, { onConnect }))
  await inside('first', () => manager.query('SELECT 1'))
  await manager.close()
  await inside('later', () => manager.use(() => {}))
  assert.deepEqual(seen, [undefined, undefined])
})

test('a nested transaction and a retry run in the caller’s context', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const seen: unknown[] = []
  await inside('mine', () =>
    manager.transaction(
      async (connection) => {
        seen.push(storage.getStore())
        await connection.transaction(() => seen.push(storage.getStore()))
        if (seen.length < 4)
          await connection.query("DO $$BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END$$")
      },
      { retries: 2 },
    ),
  )
  assert.deepEqual(seen, ['mine', 'mine', 'mine', 'mine'])
})

test('listeners run outside any holder’s context: they may ask, and see nobody’s storage', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const seen: [string, string | undefined][] = []
  const asked: Promise<unknown>[] = []
  for (const event of ['connect', 'acquire', 'release', 'rollback', 'notice'] as const) {
    manager.once(event, () => {
      seen.push([event, storage.getStore()])
      asked.push(manager.query('SELECT 1'))
    })
  }
  await inside('holder', () =>
    manager.use(async (connection) => {
      await connection.query("DO $$BEGIN RAISE NOTICE 'hello'; END$$")
      await connection.rollback()
      await connection.query('SELECT 1')
      throw new Error('mine')
    }),
  ).catch(() => {})
  await Promise.all(asked)
  assert.deepEqual(seen.map(([event]) => event).sort(), [
    'acquire',
    'connect',
    'notice',
    'release',
    'rollback',
  ])
  assert.deepEqual(new Set(seen.map(([, store]) => store)), new Set([undefined]))
})

test('a listener that throws disturbs no turn, and its error is thrown again on a later tick', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const thrown: Error[] = []
  const heard: string[] = []
  const previous = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', (error) => thrown.push(error))
  try {
    for (const event of ['connect', 'acquire', 'release', 'rollback'] as const) {
      manager.on(event, () => {
        throw new Error(`listener of ${event}`)
      })
      manager.on(event, () => void heard.push(event))
    }
    await manager.use(async (connection) => {
      await connection.query('SELECT 1')
      await connection.commit()
    })
    await manager
      .use(async (connection) => {
        await connection.query('SELECT 1')
        throw new Error('mine')
      })
      .catch((error: Error) => assert.equal(error.message, 'mine'))
    assert.deepEqual((await manager.query('SELECT 1 AS n')).rows, [{ n: 1 }])
    await settle()
  } finally {
    process.removeAllListeners('uncaughtException')
    for (const listener of previous) process.on('uncaughtException', listener)
  }
  assert.deepEqual([...heard].sort(), ['acquire', 'acquire', 'connect', 'release', 'release', 'rollback'])
  assert.deepEqual(
    thrown.map(({ message }) => message).sort(),
    heard.map((event) => `listener of ${event}`).sort(),
  )
})
