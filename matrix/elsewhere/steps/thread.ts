/** A worker on the owner's connection. */
import { workerData, type MessagePort } from 'node:worker_threads'
import { attach } from 'pg-managed-connection/worker'

const manager = attach((workerData as { port: MessagePort }).port)
await manager.transaction((connection) => connection.query('UPDATE accounts SET balance = 42 WHERE id = 2'))
await manager.end()
