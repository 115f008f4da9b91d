/** One-shots, notifications, streams, threads, and a connection that is lost. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { tracingChannel } from 'node:diagnostics_channel'
import { share } from 'pg-managed-connection/worker'
import { until } from '../../../test/support/wait.js'
import { balances, onGround, type Ground, type Steps } from './ground.js'

export const sessionSteps: Steps = {
  'one-shots of many tasks are answered in order': () =>
    onGround(async ({ manager }) => {
      const asked = Array.from({ length: 200 }, (_, n) =>
        manager.query<{ n: number }>('SELECT $1::int AS n', [n]),
      )
      const answers = (await Promise.all(asked)).map(({ rows }) => rows[0]!.n)
      assert.deepEqual(answers, [...answers.keys()])
    }),

  'a notification is delivered, and a subscription survives a lost connection': () => onGround(listen),

  'a connection whose backend is ended is replaced, and nobody notices': () =>
    onGround(async ({ manager, database }) => {
      const pid = await pidOf(manager)
      await database.admin.terminate(pid)
      assert.notEqual(await pidOf(manager), pid)
      assert.equal(manager.stats.connects, 2)
    }),

  'a transaction whose backend is ended is told so, and is not sent again': () =>
    onGround(async ({ manager, database }) => {
      const cut = manager.transaction(async (connection) => {
        await connection.query('UPDATE accounts SET balance = 0')
        await database.admin.terminate(await pidOf(connection))
        await connection.query('SELECT 1')
      })
      await assert.rejects(cut, { code: 'ERR_CONNECTION_LOST' })
      assert.deepEqual(await balances(database), [100, 100])
    }),

  'a statement that takes too long is cancelled on the server': () =>
    onGround(async ({ manager, database }) => {
      const patient = manager.use((connection) => connection.query('SELECT pg_sleep(30)'), {
        signal: AbortSignal.timeout(200),
      })
      await assert.rejects(patient)
      const isIdle = async (): Promise<boolean> =>
        (await database.admin.activity()).every(({ state }) => state === 'idle')
      await until(isIdle, { what: 'the backend to be idle' })
      assert.equal((await manager.query('SELECT 1')).rowCount, 1)
    }),

  'rows are streamed': () =>
    onGround(async ({ manager }) => {
      let sum = 0
      await manager.use(async (connection) => {
        const rows = connection.stream<{ n: number }>('SELECT n FROM generate_series(1, 1000) AS n')
        for await (const { n } of rows) sum += n
        await connection.commit()
      })
      assert.equal(sum, 500_500)
    }),

  'a worker thread shares the connection': () => onGround(shareWithWorker),

  'a tracing channel is told of statements': () => onGround(trace),
}

async function listen({ manager, database }: Ground): Promise<void> {
  await using subscription = await manager.listen('jobs')
  await database.admin.query("SELECT pg_notify('jobs', 'first')")
  await database.admin.terminate(await pidOf(manager))
  const heard: string[] = []
  for await (const notification of subscription) {
    heard.push(notification.type === 'gap' ? 'gap' : notification.payload)
    if (notification.type === 'gap') await database.admin.query("SELECT pg_notify('jobs', 'second')")
    if (heard.includes('second')) break
  }
  assert.deepEqual(heard, ['first', 'gap', 'second'])
}

async function shareWithWorker({ manager, database }: Ground): Promise<void> {
  const port = share(manager)
  const worker = new Worker(new URL('thread.js', import.meta.url), {
    workerData: { port },
    transferList: [port],
  })
  const [code] = (await once(worker, 'exit')) as [number]
  assert.equal(code, 0)
  assert.deepEqual(await balances(database), [100, 42])
}

async function trace({ manager }: Ground): Promise<void> {
  const texts: unknown[] = []
  const channel = tracingChannel<unknown, { text?: string }>('pg-managed-connection:statement')
  const subscriber = { start: ({ text }: { text?: string }): void => void texts.push(text) }
  channel.start.subscribe(subscriber.start as never)
  await manager.query('SELECT 7')
  channel.start.unsubscribe(subscriber.start as never)
  assert.deepEqual(texts, ['SELECT 7'])
}

async function pidOf(asked: Pick<Ground['manager'], 'query'>): Promise<number> {
  const { rows } = await asked.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  return rows[0]!.pid
}
