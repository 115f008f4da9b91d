/** pg-boss on the pool face: its own schema, sending, fetching, working, failing and retrying. */
import assert from 'node:assert/strict'
import PgBoss from 'pg-boss'
import { openPooled, tasks, TASKS } from '../../support/ecosystem.js'
import { openSuite } from '../../support/suite.js'
import { until, within } from '../../support/wait.js'

const { test, database } = await openSuite()

interface Job {
  n: number
}

async function openBoss({ pool }: ReturnType<typeof openPooled>): Promise<PgBoss & AsyncDisposable> {
  // Without its cron, which asks once more after stop() where that comes soon.
  const boss = new PgBoss({ db: { executeSql: (text, values) => pool.query(text, values) }, schedule: false })
  boss.on('error', (error) => {
    throw error
  })
  await boss.start()
  const dispose = (): Promise<void> => boss.stop({ graceful: true, wait: true, timeout: 5_000 })
  return Object.assign(boss, { [Symbol.asyncDispose]: dispose })
}

test('pg-boss makes its schema, and two of it start at the same time', async () => {
  await using it = openPooled(database)
  const both = await within(Promise.all([openBoss(it), openBoss(it)]), 'both')
  for (const boss of both) assert.equal(await boss.isInstalled(), true)
  for (const boss of both) await boss[Symbol.asyncDispose]()
  assert.equal(it.leaks, 0)
})

test('pg-boss sends and works many jobs at the same time, each once', async () => {
  await using it = openPooled(database)
  await using boss = await openBoss(it)
  await boss.createQueue('sums')
  const done: number[] = []
  await boss.work<Job>('sums', { batchSize: 8, pollingIntervalSeconds: 0.5 }, async (jobs) => {
    for (const { data } of jobs) done.push(data.n)
    await it.pool.query('SELECT pg_sleep(0.001)')
  })
  await within(Promise.all(tasks((n) => boss.send('sums', { n }))), 'the sending')
  await until(() => done.length >= TASKS, { what: 'the jobs', timeoutMillis: 30_000 })
  assert.deepEqual(
    done.sort((a, b) => a - b),
    Array.from({ length: TASKS }, (_, n) => n),
  )
  assert.equal(it.manager.stats.connects, 1)
})

test('a job of pg-boss that fails is tried again', async () => {
  await using it = openPooled(database)
  await using boss = await openBoss(it)
  await boss.createQueue('flaky')
  let attempts = 0
  await boss.work('flaky', { pollingIntervalSeconds: 0.5 }, async () => {
    attempts++
    if (attempts === 1) throw new Error('the first time')
  })
  await boss.send('flaky', {}, { retryLimit: 2, retryDelay: 0 })
  await until(() => attempts === 2, { what: 'the second attempt', timeoutMillis: 30_000 })
})

test('a job of pg-boss is sent inside a transaction of the caller’s, and is gone when that rolls back', async () => {
  await using it = openPooled(database)
  await using boss = await openBoss(it)
  await boss.createQueue('orders')
  const send = async (n: number, end: 'COMMIT' | 'ROLLBACK'): Promise<void> => {
    const client = await it.pool.connect()
    try {
      await client.query('BEGIN')
      const db = { executeSql: (text: string, values: unknown[]) => client.query(text, values) }
      await boss.send('orders', { n }, { db })
      await client.query(end)
    } finally {
      client.release()
    }
  }
  await within(Promise.all(tasks((n) => send(n, n % 2 === 0 ? 'COMMIT' : 'ROLLBACK'))), 'everybody')
  const jobs = await boss.fetch<Job>('orders', { batchSize: TASKS * 2 })
  assert.equal(jobs.length, TASKS / 2)
  assert.ok(jobs.every(({ data }) => data.n % 2 === 0))
  await boss.complete(
    'orders',
    jobs.map(({ id }) => id),
  )
})
