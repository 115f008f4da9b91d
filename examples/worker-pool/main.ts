/**
 * A pool of threads that share one connection: each task reads a document, computes for a while, and stores what came
 * out. While one thread computes, others use the connection.
 *
 * ```
 * node build/examples/worker-pool/main.js
 * ```
 *
 * The server is the one that PGHOST, PGHOSTADDR or PGPORT name, otherwise one that is started for it.
 */
import { availableParallelism } from 'node:os'
import { Piscina } from 'piscina'
import { ManagedConnection } from 'pg-managed-connection'
import { share } from 'pg-managed-connection/worker'
import { namesServer } from '../../test/support/environment.js'
import { startServer } from '../../test/support/postgres.js'
import type { Report, Task } from './task.js'

const DOCUMENTS = 24
const ROUNDS = 20_000

async function fill(manager: ManagedConnection): Promise<void> {
  // A temporary table belongs to a session: all threads see it, because they share one.
  await manager.query('CREATE TEMP TABLE document (id int PRIMARY KEY, body text, digest text)')
  await manager.query(
    "INSERT INTO document SELECT n, repeat('document ' || n || ' ', 100) FROM generate_series(1, $1::int) AS n",
    [DOCUMENTS],
  )
}

/** Each task brings a port of its own: which thread of the pool will take it is not known here. */
function digest(pool: Piscina<Task, Report>, manager: ManagedConnection, id: number): Promise<Report> {
  const port = share(manager)
  return pool.run({ port, id, rounds: ROUNDS }, { transferList: [port] })
}

async function main(): Promise<void> {
  await using server = namesServer() ? null : await startServer()
  if (server !== null) Object.assign(process.env, server.env)
  await using manager = new ManagedConnection()
  await fill(manager)
  const threads = Math.max(2, availableParallelism())
  const pool = new Piscina<Task, Report>({
    filename: new URL('task.js', import.meta.url).href,
    minThreads: threads,
    maxThreads: threads,
  })
  try {
    const ids = Array.from({ length: DOCUMENTS }, (_, n) => n + 1)
    const reports = await Promise.all(ids.map((id) => digest(pool, manager, id)))
    const { rows } = await manager.query<{ done: number }>(
      'SELECT count(*)::int AS done FROM document WHERE length(digest) = 64',
    )
    const used = new Set(reports.map(({ thread }) => thread)).size
    const backends = new Set(reports.map(({ processID }) => processID)).size
    console.log(`${rows[0]!.done} documents digested by ${used} threads on ${backends} connection`)
  } finally {
    await pool.destroy()
  }
}

await main()
