/**
 * A daemon that is told of new jobs by NOTIFY, and does the work on the very same connection. A killed connection is
 * replaced, and after that it looks at the table, because something may have been missed.
 */
import { ManagedConnection } from 'pg-managed-connection'
import { openServer } from './support/server.js'

await using server = await openServer()
await using manager = new ManagedConnection(server.conninfo)
await using producer = new ManagedConnection(server.conninfo)

await manager.batch([
  'DROP TABLE IF EXISTS example_jobs',
  'CREATE TABLE example_jobs (id int GENERATED ALWAYS AS IDENTITY, task text, done boolean DEFAULT false)',
])

/** Does all that is to do. */
async function work(): Promise<void> {
  const { rows } = await manager.query<{ task: string }>(
    'UPDATE example_jobs SET done = true WHERE NOT done RETURNING task',
  )
  for (const { task } of rows) console.log(`done: ${task}`)
}

async function produce(task: string): Promise<void> {
  await producer.batch([
    { text: 'INSERT INTO example_jobs (task) VALUES ($1)', values: [task] },
    { text: "SELECT pg_notify('example_jobs', $1)", values: [task] },
  ])
}

const subscription = await manager.listen('example_jobs')
await work() // what was there before we listened

await produce('sweep')
for await (const notification of subscription) {
  if (notification.type === 'gap') {
    console.log('the connection was lost: looking at the table')
    await produce('mop')
  } else {
    console.log(`told of: ${notification.payload}`)
  }
  await work()
  if (notification.type === undefined && notification.payload === 'sweep') {
    // Somebody ends our backend.
    await producer.query('SELECT pg_terminate_backend($1)', [manager.stats.processID])
  }
  if (notification.type === undefined && notification.payload === 'mop') break // leaves the channel, too
}
await manager.query('DROP TABLE example_jobs')
