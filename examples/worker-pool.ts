/**
 * A pool of threads on one connection: each task reads a document, computes for a while, and stores what came out. While
 * one thread computes, others use the connection.
 */
import { availableParallelism } from 'node:os'
import { Piscina } from 'piscina'
import { ManagedConnection } from 'pg-managed-connection'
import { share } from 'pg-managed-connection/worker'
import { openServer } from './support/server.js'
import type { Report, Task } from './worker-pool-task.js'

const DOCUMENTS = 24
const ROUNDS = 20_000

await using server = await openServer()
await using manager = new ManagedConnection(server.conninfo)

// A temporary table belongs to a session: all threads see it, because they share one.
await manager.query('CREATE TEMPORARY TABLE document (id int PRIMARY KEY, body text, digest text)')
await manager.query(
  "INSERT INTO document SELECT n, repeat('document ' || n || ' ', 100) FROM generate_series(1, $1::int) AS n",
  [DOCUMENTS],
)

const threads = Math.max(2, availableParallelism())
const pool = new Piscina<Task, Report>({
  filename: new URL('worker-pool-task.js', import.meta.url).href,
  minThreads: threads,
  maxThreads: threads,
})

/** Each task brings a port of its own: which thread of the pool will take it is not known here. */
function digest(id: number): Promise<Report> {
  const port = share(manager)
  return pool.run({ port, id, rounds: ROUNDS }, { transferList: [port] })
}

const reports = await Promise.all(Array.from({ length: DOCUMENTS }, (_, n) => digest(n + 1)))
await pool.destroy()

const { rows } = await manager.query<{ n: number }>(
  'SELECT count(*)::int AS n FROM document WHERE length(digest) = 64',
)
console.log('documents digested:', rows[0]?.n)
console.log('threads:', new Set(reports.map(({ thread }) => thread)).size)
console.log('server connections:', new Set(reports.map(({ processID }) => processID)).size)
