/**
 * A queue in a table, and workers that take jobs from it: each job is done once, by one of them, and a job that fails is
 * tried again later. They are woken by NOTIFY, and look once more when notifications may have been missed.
 */
import { ManagedConnection, type Connection } from 'pg-managed-connection'
import { openServer } from './support/server.js'

const WORKERS = 4
const JOBS = 12

await using server = await openServer()
await using manager = new ManagedConnection(server.conninfo)
await manager.query(`
  DROP TABLE IF EXISTS example_jobs;
  CREATE TABLE example_jobs (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, task text NOT NULL,
    tries int NOT NULL DEFAULT 0, due timestamptz NOT NULL DEFAULT now(), done timestamptz)`)

interface Job {
  readonly id: number
  readonly task: string
  readonly tries: number
}

/** Takes the next job that nobody else has and does it, in one transaction. False where there is none. */
async function takeOne(work: (job: Job, connection: Connection) => Promise<void>): Promise<boolean> {
  return manager.transaction(
    async (connection) => {
      const { rows } = await connection.query<Job>(`
        SELECT id, task, tries FROM example_jobs WHERE done IS NULL AND due <= now()
        ORDER BY due, id LIMIT 1 FOR UPDATE SKIP LOCKED`)
      const [job] = rows
      if (job === undefined) return false
      try {
        // A savepoint: what a job did before it failed is undone, and the note of the failure is not.
        await connection.transaction((nested) => work(job, nested))
        await connection.query('UPDATE example_jobs SET done = now() WHERE id = $1', [job.id])
      } catch {
        await connection.query(
          `UPDATE example_jobs SET tries = tries + 1, due = now() + interval '50 ms' WHERE id = $1`,
          [job.id],
        )
      }
      return true
    },
    { label: 'queue' },
  )
}

let failures = 0

async function work({ task, tries }: Job, connection: Connection): Promise<void> {
  await connection.query('SELECT pg_sleep(0.005)')
  if (task === 'job 5' && tries === 0) {
    failures++
    throw new Error('not today')
  }
}

async function isOver(): Promise<boolean> {
  const { rows } = await manager.query<{ left: number }>(
    'SELECT count(*)::int AS left FROM example_jobs WHERE done IS NULL',
  )
  return rows[0]!.left === 0
}

async function run(): Promise<void> {
  await using subscription = await manager.listen('example_jobs')
  const woken = subscription[Symbol.asyncIterator]()
  do {
    while (await takeOne(work));
    // Woken by a notification, or a gap in them, or because a failed job may be due.
    await Promise.race([woken.next(), new Promise((resolve) => setTimeout(resolve, 60))])
  } while (!(await isOver()))
}

const workers = Array.from({ length: WORKERS }, run)
for (let n = 1; n <= JOBS; n++) {
  await manager.batch([
    { text: 'INSERT INTO example_jobs (task) VALUES ($1)', values: [`job ${n}`] },
    "SELECT pg_notify('example_jobs', '')",
  ])
}
await Promise.all(workers)

const { rows } = await manager.query<{ done: number; tries: number }>(
  'SELECT count(done)::int AS done, sum(tries)::int AS tries FROM example_jobs',
)
console.log(`jobs done: ${rows[0]!.done}, failures: ${failures}, tried again: ${rows[0]!.tries}`)
console.log('server connections:', manager.stats.connects)
