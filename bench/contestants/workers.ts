/** Worker threads that share one connection of this thread's. */
import { once } from 'node:events'
import { MessageChannel, Worker } from 'node:worker_threads'
import { ManagedConnection } from 'pg-managed-connection'
import { share } from 'pg-managed-connection/worker'
import { serveFiveMessages } from '../five-messages.js'
import { conninfoOf } from '../place.js'
import type { MessagePort } from 'node:worker_threads'
import type { Order, WorkerKind, WorkerSetting } from '../worker-protocol.js'
import type { Contestant, Entrant, Setting } from './contestant.js'

const MOST_WORKERS = 4

/** `transaction()` in the workers. */
export const workersTransaction = workers('transaction')
/** `query()` in the workers. */
export const workersQuery = workers('query')
/** A message for each of acquire, BEGIN, the statement, COMMIT and release. */
export const workersFiveMessages = workers('five messages')

function workers(kind: WorkerKind): Contestant {
  return async (setting) => {
    const manager = new ManagedConnection(conninfoOf(setting.place))
    const count = Math.min(MOST_WORKERS, setting.tasks)
    const crew = await Promise.all(Array.from({ length: count }, () => start(kind, manager, setting, count)))
    return new Crew(manager, crew)
  }
}

async function start(
  kind: WorkerKind,
  manager: ManagedConnection,
  { work, tasks }: Setting,
  count: number,
): Promise<Worker> {
  const port = kind === 'five messages' ? openFiveMessages(manager) : share(manager)
  const { text, statements } = work
  const workerData: WorkerSetting = { kind, port, work: { text, statements }, tasks: tasks / count }
  const worker = new Worker(new URL('../worker-thread.js', import.meta.url), {
    workerData,
    transferList: [port],
  })
  await once(worker, 'online')
  return worker
}

function openFiveMessages(manager: ManagedConnection): MessagePort {
  const { port1, port2 } = new MessageChannel()
  serveFiveMessages(manager, port1)
  return port2
}

class Crew implements Entrant {
  readonly threads: number
  readonly #manager: ManagedConnection
  readonly #workers: readonly Worker[]

  constructor(manager: ManagedConnection, workers: readonly Worker[]) {
    this.#manager = manager
    this.#workers = workers
    this.threads = workers.length
  }

  async run(millis: number): Promise<number> {
    const rates = await Promise.all(this.#workers.map((worker) => tell(worker, { millis })))
    return rates.reduce((sum, rate) => sum + rate, 0)
  }

  async attempt(count: number): Promise<void> {
    const share = Math.floor(count / this.#workers.length)
    await Promise.all(
      this.#workers.map((worker, n) =>
        tell(worker, { count: n === 0 ? count - share * (this.#workers.length - 1) : share }),
      ),
    )
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
    await this.#manager.end()
  }
}

async function tell(worker: Worker, order: Order): Promise<number> {
  worker.postMessage(order)
  const [rate] = (await once(worker, 'message')) as [number]
  return rate
}
