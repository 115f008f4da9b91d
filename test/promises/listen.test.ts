/** `listen()`: channels, shared LISTENs, reconnects, bounds and ends. */
import assert from 'node:assert/strict'
import {
  ManagerEndedError,
  ReentrantAcquireError,
  SubscriptionOverflowError,
  type Notification,
  type Subscription,
} from 'pg-managed-connection'
import { caught } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database

function next(subscription: Subscription): Promise<Notification> {
  const read = async (): Promise<Notification> => {
    const { done, value } = await subscription[Symbol.asyncIterator]().next()
    if (done === true) throw new Error('the subscription ended')
    return value as Notification
  }
  return within(read(), 'a notification')
}

async function channels(manager: ManagedConnection): Promise<string[]> {
  const { rows } = await manager.query<{ name: string }>(
    'SELECT pg_listening_channels() AS name ORDER BY name',
  )
  return rows.map(({ name }) => name)
}

test('a notification arrives with its channel, its payload and the process that sent it', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await using subscription = await manager.listen('jobs')
  const [sender] = await admin.rows<{ pid: number }>(
    "SELECT pg_notify('jobs', 'one'), pg_backend_pid() AS pid",
  )
  assert.deepEqual(await next(subscription), { channel: 'jobs', payload: 'one', processID: sender!.pid })
  await admin.query('NOTIFY jobs')
  assert.equal(((await next(subscription)) as { payload: string }).payload, '')
})

test('every subscriber of a channel gets every notification, and they share one LISTEN', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await using first = await manager.listen('shared')
  await using second = await manager.listen('shared')
  await using other = await manager.listen('other')
  assert.deepEqual(await channels(manager), ['other', 'shared'])
  await admin.query("NOTIFY shared, 'x'")
  for (const subscription of [first, second]) {
    assert.equal(((await next(subscription)) as { payload: string }).payload, 'x')
  }
  assert.equal(other.buffered, 0)
})

test('the last subscriber to leave undoes the LISTEN, and one that comes back has it again', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const first = await manager.listen('coming')
  const second = await manager.listen('coming')
  await first[Symbol.asyncDispose]()
  assert.deepEqual(await channels(manager), ['coming'])
  await second[Symbol.asyncDispose]()
  await until(async () => (await channels(manager)).length === 0, { what: 'UNLISTEN' })
  await using third = await manager.listen('coming')
  await admin.query("NOTIFY coming, 'again'")
  assert.equal(((await next(third)) as { payload: string }).payload, 'again')
})

test('leaving and coming back at once, many times over, ends with one LISTEN that works', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (let i = 0; i < 50; i++) await (await manager.listen('flicker'))[Symbol.asyncDispose]()
  await using subscription = await manager.listen('flicker')
  assert.deepEqual(await channels(manager), ['flicker'])
  await admin.query("NOTIFY flicker, 'there'")
  assert.equal(((await next(subscription)) as { payload: string }).payload, 'there')
})

test('disposal ends a reader that waits, and does not wait for a turn', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const subscription = await manager.listen('left')
  const waiting = subscription[Symbol.asyncIterator]().next()
  await using _holder = await manager.acquire()
  await within(subscription[Symbol.asyncDispose](), 'the disposal', 1_000)
  assert.deepEqual(await within(waiting, 'the reader', 1_000), { done: true, value: undefined })
})

test('break leaves the loop and the subscription', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const subscription = await manager.listen('loop')
  await manager.batch(["SELECT pg_notify('loop', '1')", "SELECT pg_notify('loop', '2')"])
  const seen: string[] = []
  for await (const notification of subscription) {
    if (notification.type === undefined) seen.push(notification.payload)
    break
  }
  assert.deepEqual(seen, ['1'])
  await until(async () => (await channels(manager)).length === 0, { what: 'UNLISTEN' })
})

test('notifications reach subscribers while others use the connection', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await using subscription = await manager.listen('busy')
  let working = true
  const tasks = Array.from({ length: 8 }, async () => {
    while (working) await manager.transaction((connection) => connection.query('SELECT 1'))
  })
  try {
    for (let i = 0; i < 20; i++) {
      await admin.query(`NOTIFY busy, '${i}'`)
      assert.equal(((await next(subscription)) as { payload: string }).payload, String(i))
    }
  } finally {
    working = false
    await Promise.all(tasks)
  }
})

test(
  'after a reconnect it listens again before anyone gets the connection, and says once that there was a gap',
  { needs: ['kill'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    await using first = await manager.listen('kept')
    await using second = await manager.listen('kept')
    await admin.terminate(manager.stats.processID!)
    // Nobody asks for the connection: the subscription has it opened again by itself.
    for (const subscription of [first, second]) {
      assert.deepEqual(await next(subscription), { type: 'gap', channel: 'kept' })
    }
    assert.deepEqual(await channels(manager), ['kept'])
    await admin.query("NOTIFY kept, 'after'")
    for (const subscription of [first, second]) {
      assert.equal(((await next(subscription)) as { payload: string }).payload, 'after')
      assert.equal(subscription.buffered, 0)
    }
  },
)

test('close() closes, and the subscription has the connection opened again', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await using subscription = await manager.listen('closed')
  await manager.close()
  assert.deepEqual(await next(subscription), { type: 'gap', channel: 'closed' })
  await admin.query("NOTIFY closed, 'x'")
  assert.equal(((await next(subscription)) as { payload: string }).payload, 'x')
})

test('DISCARD ALL and a reset of the session do not lose it', async () => {
  await using manager = new ManagedConnection(database.conninfo, { reset: 'session' })
  await using subscription = await manager.listen('stays')
  await manager.transaction((connection) => connection.query('SET LOCAL work_mem = 1024'))
  await admin.query("NOTIFY stays, 'reset'")
  assert.equal(((await next(subscription)) as { payload: string }).payload, 'reset')
  await manager.query('DISCARD ALL')
  assert.deepEqual(await next(subscription), { type: 'gap', channel: 'stays' })
  await admin.query("NOTIFY stays, 'discarded'")
  assert.equal(((await next(subscription)) as { payload: string }).payload, 'discarded')
})

test('a slow reader has a bound: what is buffered can be read, then the error comes, and others are spared', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const slow = await manager.listen('flood', { maxBuffered: 3 })
  await using quick = await manager.listen('flood')
  await manager.batch([1, 2, 3, 4, 5].map((n) => `SELECT pg_notify('flood', '${n}')`))
  await until(() => quick.buffered === 5, { what: 'the flood' })
  assert.equal(slow.buffered, 3)
  const seen: string[] = []
  const error = await caught(
    (async () => {
      for await (const item of slow) if (item.type === undefined) seen.push(item.payload)
    })(),
    SubscriptionOverflowError,
  )
  assert.deepEqual(seen, ['1', '2', '3'])
  assert.equal(error.channel, 'flood')
  assert.equal(error.maxBuffered, 3)
  assert.equal((await slow[Symbol.asyncIterator]().next()).done, true)
  await assert.rejects(manager.listen('flood', { maxBuffered: -1 }), RangeError)
})

test('an idle time-out does not close the connection while a subscription lives', async () => {
  await using manager = new ManagedConnection(database.conninfo, { idleTimeoutMillis: 30 })
  const subscription = await manager.listen('idle')
  const { processID } = manager.stats
  await new Promise((resolve) => setTimeout(resolve, 150))
  assert.equal(manager.stats.processID, processID)
  await subscription[Symbol.asyncDispose]()
  await until(() => manager.closed, { what: 'the idle connection to be closed' })
})

test('end() ends the subscriptions', { needs: ['own thread'] }, async () => {
  const manager = new ManagedConnection(database.conninfo)
  const subscription = await manager.listen('ending')
  const waiting = subscription[Symbol.asyncIterator]().next()
  await manager.end()
  assert.deepEqual(await within(waiting, 'the reader'), { done: true, value: undefined })
  await caught(manager.listen('ending'), ManagerEndedError)
})

test('a channel is quoted, and one that PostgreSQL would cut is refused', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const odd = 'Odd "name"; DROP TABLE x --'
  await using subscription = await manager.listen(odd)
  await manager.query('SELECT pg_notify($1, $2)', [odd, 'x'])
  assert.equal((await next(subscription)).channel, odd)
  for (const name of ['', 'a'.repeat(64), 'a\0b']) await caught(manager.listen(name), TypeError)
})

test('listen() inside a callback is refused, and waits when it is detached', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  let detached: Promise<Subscription> | undefined
  await manager.use(async () => {
    await caught(manager.listen('inside'), ReentrantAcquireError)
    detached = manager.listen('inside', { detached: true })
  })
  await using _subscription = await within(detached!, 'the detached listen')
})

test(
  'a subscriber that gave up waiting for its turn leaves nothing behind',
  { needs: ['sessions'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    {
      await using _holder = await manager.acquire()
      await assert.rejects(manager.listen('never', { timeoutMillis: 20 }), { code: 'ERR_ACQUIRE_TIMEOUT' })
    }
    assert.deepEqual(await channels(manager), [])
  },
)

test(
  'a subscription goes on over a reconnect, whoever else asks for its channel meanwhile',
  { needs: ['kill'] },
  async () => {
    for (const timeoutMillis of [100, 5_000]) {
      await using manager = new ManagedConnection(database.conninfo)
      await using first = await manager.listen('shared')
      const [holder, second] = await new Promise<[Promise<void>, Promise<unknown>]>((resolve) => {
        manager.once('disconnect', () => {
          const held = manager.use(() => new Promise<void>((over) => setTimeout(over, 400)))
          resolve([held, Promise.allSettled([manager.listen('shared', { timeoutMillis })])])
        })
        void admin.query(`SELECT pg_terminate_backend(${manager.stats.processID})`)
      })
      assert.deepEqual(await next(first), { type: 'gap', channel: 'shared' })
      await Promise.all([holder, second])
      assert.deepEqual(await channels(manager), ['shared'])
      await admin.query("NOTIFY shared, 'after'")
      assert.equal(((await next(first)) as { payload: string }).payload, 'after')
    }
  },
)

test('each who asks for a channel has limits of its own', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const holder = await manager.acquire()
  const first = manager.listen('limits')
  const abort = new AbortController()
  const aborted = manager.listen('limits', { signal: abort.signal })
  const hurried = manager.listen('limits', { timeoutMillis: 20 })
  abort.abort(new Error('enough'))
  await assert.rejects(within(aborted, 'the aborted one'), /enough/)
  await assert.rejects(within(hurried, 'the hurried one'), { code: 'ERR_ACQUIRE_TIMEOUT' })
  await holder.release()
  await using _subscription = await within(first, 'the first')
})

test('LISTEN stands in line at the moment of asking, behind an UNLISTEN, too', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  for (let round = 0; round < 3; round++) {
    const [subscription] = await Promise.all([
      manager.listen('in line'),
      manager.query("SELECT pg_notify('in line', 'at once')"),
    ])
    await next(subscription)
    await subscription[Symbol.asyncDispose]()
  }
})

test('what undoes LISTENs, however it is sent, is noticed, and they are done again', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await using first = await manager.listen('one')
  await using second = await manager.listen('two')
  await database.admin.query(
    "CREATE FUNCTION deafen() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'UNLISTEN *'; END $$",
  )
  const texts = {
    'DISCARD ALL': ['one', 'two'],
    'UNLISTEN *': ['one', 'two'],
    'UNLISTEN one': ['one'],
    'SELECT 1; UNLISTEN two': ['two'],
    "DO $$ BEGIN EXECUTE 'UNLISTEN *'; END $$": ['one', 'two'],
    'SELECT deafen()': ['one', 'two'],
  }
  const listeners = { one: first, two: second }
  for (const [text, undone] of Object.entries(texts)) {
    // One that has a name goes by the extended protocol.
    await manager.query(text.includes(';') ? { text } : { text, name: text })
    for (const channel of undone as ('one' | 'two')[])
      assert.deepEqual(await next(listeners[channel]), { type: 'gap', channel }, text)
    assert.deepEqual(await channels(manager), ['one', 'two'], text)
  }
  assert.deepEqual([first.buffered, second.buffered], [0, 0])
})

test('close() ends a subscription, and whoever reads it', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const subscription = await manager.listen('closing')
  const reader = subscription[Symbol.asyncIterator]()
  const reading = reader.next()
  await subscription.close()
  assert.deepEqual(await reading, { done: true, value: undefined })
  await subscription.close()
  assert.deepEqual(await channels(manager), [])
})

test('what a listener has undone is done again, even where nobody else may wait', async () => {
  await using manager = new ManagedConnection(database.conninfo, { maxWaiting: 0 })
  await using subscription = await manager.listen('one')
  await manager.query('DISCARD ALL')
  assert.deepEqual(await next(subscription), { type: 'gap', channel: 'one' })
})

test(
  'end() refuses those who would listen to what others listen to already',
  { needs: ['own thread'] },
  async () => {
    const manager = new ManagedConnection(database.conninfo)
    await manager.listen('ending')
    const holder = await manager.acquire()
    const ended = manager.end()
    await caught(manager.listen('ending'), ManagerEndedError)
    await caught(manager.batch([]), ManagerEndedError)
    await holder.release()
    await ended
  },
)

test(
  'who leaves while the channel is listened to again leaves nothing behind',
  { needs: ['own thread'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const subscription = await manager.listen('orphan')
    let gone: PromiseLike<void> | undefined
    await manager.use(
      async (connection) => {
        await connection.query('UNLISTEN *')
        gone = subscription[Symbol.asyncDispose]()
      },
      { autocommit: true },
    )
    await gone
    await until(async () => (await channels(manager)).length === 0, { what: 'the channel to be left' })
  },
)
