/** Tests of LISTEN, for every face. */
import assert from 'node:assert/strict'
import { SubscriptionOverflowError, type Manager } from 'pg-managed-connection'
import { caught } from '../../support/caught.js'
import { until, within } from '../../support/wait.js'
import type { Suite } from '../../support/worker/face.js'

type Subscription = Awaited<ReturnType<Manager['listen']>>

async function take(subscription: Subscription, count: number): Promise<unknown[]> {
  const reader = subscription[Symbol.asyncIterator]()
  const taken: unknown[] = []
  for (let i = 0; i < count; i++) {
    const { value } = await within(reader.next(), 'a notification')
    taken.push(value)
  }
  return taken
}

export function testNotifications({ test, database, face }: Suite): void {
  test('notifications arrive in order, from the moment that listen resolved', async () => {
    await using faced = face.open()
    const { manager } = faced
    await using subscription = await manager.listen('jobs')
    assert.equal(subscription.channel, 'jobs')
    for (let n = 0; n < 5; n++) await manager.query("SELECT pg_notify('jobs', $1)", [String(n)])
    const taken = (await take(subscription, 5)) as { payload: string; channel: string; processID: number }[]
    assert.deepEqual(
      taken.map(({ payload }) => payload),
      ['0', '1', '2', '3', '4'],
    )
    assert.equal(taken[0]!.channel, 'jobs')
    assert.equal(taken[0]!.processID, faced.owner.stats.processID)
  })

  test('a subscription survives its connection, and says that there is a gap', async () => {
    await using faced = face.open()
    const { manager } = faced
    await using subscription = await manager.listen('jobs')
    await database.admin.query('SELECT pg_terminate_backend($1)', [faced.owner.stats.processID])
    assert.deepEqual(await take(subscription, 1), [{ type: 'gap', channel: 'jobs' }])
    await manager.query("NOTIFY jobs, 'again'")
    const [again] = (await take(subscription, 1)) as { payload: string }[]
    assert.equal(again!.payload, 'again')
  })

  test('one that is not read ends with an error', async () => {
    await using faced = face.open()
    const { manager } = faced
    const subscription = await manager.listen('jobs', { maxBuffered: 3 })
    for (let n = 0; n < 5; n++) await manager.query('NOTIFY jobs')
    await until(() => subscription.buffered === 3, { what: 'the buffer to be full' })
    await take(subscription, 3)
    const error = await caught(take(subscription, 1), SubscriptionOverflowError)
    assert.equal(error.channel, 'jobs')
    assert.equal(error.maxBuffered, 3)
    assert.deepEqual(await take(subscription, 1), [undefined])
  })

  test('disposal does not wait for a turn, and end ends it', async () => {
    await using faced = face.open()
    const { manager } = faced
    const first = await manager.listen('jobs')
    const connection = await manager.acquire()
    await within(first[Symbol.asyncDispose](), 'the disposal', 500)
    await connection.release()
    const second = await manager.listen('jobs')
    const reading = take(second, 1)
    await manager.end()
    assert.deepEqual(await reading, [undefined])
  })

  test('a loop that is left disposes of its subscription', async () => {
    await using faced = face.open()
    const { manager } = faced
    const subscription = await manager.listen('jobs')
    await manager.query('NOTIFY jobs')
    for await (const notification of subscription) {
      assert.equal(notification.channel, 'jobs')
      break
    }
    assert.deepEqual(await take(subscription, 1), [undefined])
  })
}
