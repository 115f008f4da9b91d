/** graphile-worker on the pool face: its schema, adding and running jobs; its LISTEN, which wants a second connection. */
import assert from 'node:assert/strict'
import { Logger, makeWorkerUtils, run, runMigrations, runOnce, type TaskList } from 'graphile-worker'
import { AcquireTimeoutError, type ManagedConnectionOptions } from 'pg-managed-connection'
import type { PoolFaceOptions } from 'pg-managed-connection/pool'
import { openPooled, type Pooled, tasks, TASKS } from '../../support/ecosystem.js'
import { openSuite } from '../../support/suite.js'
import { until, within } from '../../support/wait.js'

const { test, database } = await openSuite()

/** The library asks on the console for listeners of a pool that has none. */
function openListened(...options: [ManagedConnectionOptions?, PoolFaceOptions?]): Pooled {
  const it = openPooled(database, ...options)
  it.pool.on('error', () => {})
  it.pool.on('connect', (client) => void client.on('error', () => {}))
  return it
}

/** What the library logs, in place of the console. */
function openLog(): { logger: Logger; lines: string[] } {
  const lines: string[] = []
  return { lines, logger: new Logger(() => (_level, message) => void lines.push(message)) }
}

test('graphile-worker migrates, twice at the same time', async () => {
  await using it = openListened()
  const { logger } = openLog()
  await within(
    Promise.all([runMigrations({ pgPool: it.pool, logger }), runMigrations({ pgPool: it.pool, logger })]),
    'both',
  )
  assert.equal(it.leaks, 0)
})

test('graphile-worker adds jobs at the same time, and runOnce() runs each once', async () => {
  await using it = openListened()
  const { logger } = openLog()
  const utils = await makeWorkerUtils({ pgPool: it.pool, logger })
  await within(Promise.all(tasks((n) => utils.addJob('sum', { n }))), 'the adding')
  const done: number[] = []
  const taskList: TaskList = {
    async sum(payload, helpers) {
      await helpers.query('SELECT 1')
      done.push((payload as { n: number }).n)
    },
  }
  await within(
    runOnce({ pgPool: it.pool, taskList, concurrency: 4, noHandleSignals: true, logger }),
    'the run',
  )
  assert.deepEqual(
    done.sort((a, b) => a - b),
    Array.from({ length: TASKS }, (_, n) => n),
  )
  await utils.release()
  assert.equal(it.manager.stats.connects, 1)
  assert.equal(it.leaks, 0)
})

test('a job of graphile-worker that fails is kept with its error', async () => {
  await using it = openListened()
  const { logger } = openLog()
  const utils = await makeWorkerUtils({ pgPool: it.pool, logger })
  await utils.addJob('fails', {}, { maxAttempts: 1, jobKey: 'it' })
  const taskList: TaskList = { fails: () => Promise.reject(new Error('as it should')) }
  await within(runOnce({ pgPool: it.pool, taskList, noHandleSignals: true, logger }), 'the run')
  const { rows } = await it.pool.query('SELECT last_error FROM graphile_worker.jobs WHERE key = $1', ['it'])
  assert.deepEqual(rows, [{ last_error: 'as it should' }])
  await utils.release()
})

test('a job of graphile-worker uses withPgClient for a transaction of its own', async () => {
  await using it = openListened()
  const { logger } = openLog()
  const utils = await makeWorkerUtils({ pgPool: it.pool, logger })
  await it.pool.query('CREATE TABLE worked (n int)')
  await Promise.all(tasks((n) => utils.addJob('write', { n }, { maxAttempts: 1 })))
  const taskList: TaskList = {
    write: (payload, { withPgClient }) =>
      withPgClient(async (client) => {
        const { n } = payload as { n: number }
        await client.query('BEGIN')
        await client.query('INSERT INTO worked VALUES ($1)', [n])
        await client.query(n % 2 === 0 ? 'COMMIT' : 'ROLLBACK')
      }),
  }
  await within(
    runOnce({ pgPool: it.pool, taskList, concurrency: 4, noHandleSignals: true, logger }),
    'the run',
  )
  const { rows } = await it.pool.query('SELECT count(*)::int AS n FROM worked')
  assert.deepEqual(rows, [{ n: TASKS / 2 }])
  await utils.release()
})

test('run() keeps a client for its LISTEN: everybody else gets a clear error in time', async () => {
  await using it = openListened({ acquireTimeoutMillis: 500 })
  const { logger } = openLog()
  const runner = await run({
    pgPool: it.pool,
    taskList: { never: () => {} },
    noHandleSignals: true,
    logger,
    pollInterval: 60_000,
  })
  const heard = async (): Promise<boolean> => {
    const { rows } = await database.admin.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    return rows.length > 0
  }
  await until(heard, { what: 'the LISTEN' })
  await assert.rejects(it.pool.query('SELECT 1'), (error: Error) => {
    assert.ok(error instanceof AcquireTimeoutError)
    assert.match(error.message, /held for \d+ms/)
    return true
  })
  await within(runner.stop(), 'the stop')
  await it.pool.query('SELECT 1')
})

test('with refuseListen run() polls instead, and works', async () => {
  await using it = openListened({}, { refuseListen: true })
  const { logger, lines } = openLog()
  const done: number[] = []
  const runner = await run({
    pgPool: it.pool,
    taskList: { sum: (payload) => void done.push((payload as { n: number }).n) },
    noHandleSignals: true,
    logger,
    pollInterval: 50,
    concurrency: 4,
  })
  await Promise.all(tasks((n) => runner.addJob('sum', { n })))
  await until(() => done.length === TASKS, { what: 'the jobs' })
  assert.ok(lines.some((line) => line.includes('refuseListen')))
  await within(runner.stop(), 'the stop')
})
