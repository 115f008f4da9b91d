/** One process that loads the package in both ways, as happens where a project is half moved. */
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'
import * as imported from 'pg-managed-connection'
import { asPool } from 'pg-managed-connection/pool'
import { share } from 'pg-managed-connection/worker'

const require = createRequire(import.meta.url)
const required = require('pg-managed-connection')

const manager = new required.ManagedConnection(process.env.CONNINFO)
const error = await asPool(manager)
  .query('SELECT 1 / 0')
  .catch((reason) => reason)
const left = await manager.use((connection) => connection.query('SELECT 1')).catch((reason) => reason)
const port = share(manager)
const worker = new Worker(new URL('worker.cjs', import.meta.url), {
  workerData: { port },
  transferList: [port],
})
const [answer] = await once(worker, 'message')
await manager.end()
console.log(
  JSON.stringify({
    same: Object.keys(imported).every((name) => imported[name] === required[name]),
    code: error.code,
    left: left instanceof imported.UncommittedTransactionError,
    answer,
  }),
)
