/** A worker that does as it is told, and reports operations per second. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { attach } from 'pg-managed-connection/worker'
import { runMillis } from './tasks.js'
import { operation } from './worker-operations.js'
import type { Order } from './worker.js'

const manager = attach((workerData as { port: MessagePort }).port)

parentPort!.on('message', ({ kind, tasks, millis }: Order) => {
  void runMillis(tasks, millis, operation(manager, kind)).then((rate) => parentPort!.postMessage(rate))
})
