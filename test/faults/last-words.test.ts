/** What the server said last is the cause of a loss, even where a write fails before that has been read. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import pg from 'pg'
import { ConnectionLostError, ManagedConnection } from 'pg-managed-connection'
import { pathOf } from '../support/root.js'
import { openSuite } from '../support/suite.js'
import { within } from '../support/wait.js'

const { test, database } = await openSuite()
const TCP = { ...database.login, host: '127.0.0.1' }

/** Ends a backend while this process stands still: what the server says then waits in the socket, unread. */
function terminateUnheard(pid: number): void {
  const script = `
    import pg from 'pg'
    const client = new pg.Client(process.argv[1])
    await client.connect()
    const ours = [process.argv[2]]
    await client.query('SELECT pg_terminate_backend($1)', ours)
    for (let left = 1; left > 0; )
      left = (await client.query('SELECT FROM pg_stat_activity WHERE pid = $1', ours)).rowCount
    await client.end()`
  const cwd = pathOf()
  const given = ['--input-type=module', '-e', script, database.conninfo, String(pid)]
  const { status, stderr } = spawnSync(process.execPath, given, { cwd, encoding: 'utf8' })
  assert.equal(status, 0, stderr)
}

test('a backend that is ended: its FATAL is the cause, not the write that failed', async () => {
  await using manager = new ManagedConnection({ ...TCP, database: database.name, sslmode: 'disable' })
  await manager.query('SELECT 1')
  terminateUnheard(manager.stats.processID!)
  // The first write is answered with a reset, and the second one fails.
  const asked = ['SELECT 1', 'SELECT 2'].map((text) => manager.query(text))
  for (const outcome of await within(Promise.allSettled(asked), 'the queries')) {
    assert.ok(outcome.status === 'rejected' && outcome.reason instanceof ConnectionLostError)
    const { cause } = outcome.reason
    assert.ok(cause instanceof pg.DatabaseError, String(cause))
    assert.equal(cause.code, '57P01')
  }
  await manager.query('SELECT 1')
})
