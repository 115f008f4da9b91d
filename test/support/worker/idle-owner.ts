/** A thread that owns a connection and shares it with another; both have nothing to do after that. */
import { parentPort, workerData, Worker, type MessagePort } from 'node:worker_threads'
import { ManagedConnection } from 'pg-managed-connection'
import { attach, share } from 'pg-managed-connection/worker'

const { conninfo, port } = workerData as { conninfo?: string; port?: MessagePort }

if (port !== undefined) {
  const manager = attach(port)
  await manager.query('SELECT 1')
  parentPort!.postMessage('used')
} else {
  const manager = new ManagedConnection(conninfo)
  const shared = share(manager)
  const unused = share(manager)
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { port: shared },
    transferList: [shared],
  })
  worker.once('message', () => void unused)
}
