/** A worker of the bench: it does as it is told, and reports operations per second. */
import { parentPort, workerData } from 'node:worker_threads'
import { attach } from 'pg-managed-connection/worker'
import { FiveMessages } from './five-messages.js'
import { runCount, runMillis } from './tasks.js'
import type { Order, WorkerSetting } from './worker-protocol.js'

const { kind, port, work, tasks } = workerData as WorkerSetting

type Rows = readonly Record<string, unknown>[]

function check(rows: Rows, n: number): void {
  if (rows.length !== 1 || rows[0]!['n'] !== n) throw new Error(`expected the number ${n} in one row`)
}

function operation(): (n: number) => Promise<void> {
  switch (kind) {
    case 'transaction': {
      const manager = attach(port)
      return (n) =>
        manager.transaction(async (connection) =>
          check((await connection.query<Rows[0]>(work.text, [n])).rows, n),
        )
    }
    case 'query': {
      const manager = attach(port)
      return async (n) => check((await manager.query<Rows[0]>(work.text, [n])).rows, n)
    }
    case 'five messages': {
      const messages = new FiveMessages(port)
      return (n) => messages.transaction(async (query) => check(await query(work.text, [n]), n))
    }
    default:
      return kind satisfies never
  }
}

const once = operation()

async function obey(order: Order): Promise<number> {
  if ('millis' in order) return runMillis(tasks, order.millis, once)
  await runCount(tasks, order.count, once)
  return 0
}

parentPort!.on('message', (order: Order) => {
  void obey(order).then((rate) => parentPort!.postMessage(rate))
})
