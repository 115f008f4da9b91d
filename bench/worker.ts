/**
 * Worker threads against the owner's thread: the same tasks, taken turns in one run, as ratios.
 *
 * ```
 * node build/bench/worker.js [--rounds=N] [--millis=N]
 * ```
 *
 * The server is the one that PGHOST names, otherwise one of our own.
 */
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { ManagedConnection } from 'pg-managed-connection'
import { share } from 'pg-managed-connection/worker'
import { namesServer } from '../test/support/environment.js'
import { startServer } from '../test/support/postgres.js'
import { runMillis } from './tasks.js'
import { WORKER_KINDS, operation, type WorkerKind } from './worker-operations.js'

const WORKERS = 4
const TASKS = 16

const { values: flags } = parseArgs({
  options: { rounds: { type: 'string', default: '7' }, millis: { type: 'string', default: '700' } },
})

/** What a worker is told to do. */
export interface Order {
  readonly kind: WorkerKind
  readonly tasks: number
  readonly millis: number
}

function median(figures: number[]): number {
  const sorted = [...figures].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]!
}

async function runWorkers(workers: readonly Worker[], order: Order): Promise<number> {
  const rates = workers.map(async (worker) => {
    worker.postMessage(order)
    const [rate] = (await once(worker, 'message')) as [number]
    return rate
  })
  return (await Promise.all(rates)).reduce((sum, rate) => sum + rate, 0)
}

/** The time of one operation alone, in microseconds. */
async function latency(manager: ManagedConnection, kind: WorkerKind): Promise<number> {
  return 1e6 / (await runMillis(1, Number(flags.millis) / 2, operation(manager, kind)))
}

await using server = namesServer() ? null : await startServer()
if (server !== null) Object.assign(process.env, server.env)
await using manager = new ManagedConnection()
const workers = Array.from({ length: WORKERS }, () => {
  const port = share(manager)
  return new Worker(new URL('worker-thread.js', import.meta.url), {
    workerData: { port },
    transferList: [port],
  })
})
await Promise.all(workers.map((worker) => once(worker, 'online')))

const millis = Number(flags.millis)
for (const kind of WORKER_KINDS) {
  const ratios: number[] = []
  const direct: number[] = []
  const added: number[] = []
  for (let round = -1; round < Number(flags.rounds); round++) {
    const own = await runMillis(WORKERS * TASKS, millis, operation(manager, kind))
    const theirs = await runWorkers(workers, { kind, tasks: TASKS, millis })
    const alone = await latency(manager, kind)
    const [remote] = [1e6 / (await runWorkers(workers.slice(0, 1), { kind, tasks: 1, millis: millis / 2 }))]
    if (round < 0) continue // a warm-up
    direct.push(own)
    ratios.push(theirs / own)
    added.push(remote! - alone)
  }
  const list = ratios.map((ratio) => ratio.toFixed(2)).join(' ')
  console.log(
    `${kind.padEnd(12)} ${median(ratios).toFixed(2)} x the owner's ${Math.round(median(direct))}/s (${list}); ` +
      `alone +${Math.round(median(added))} µs`,
  )
}
await Promise.all(workers.map((worker) => worker.terminate()))
