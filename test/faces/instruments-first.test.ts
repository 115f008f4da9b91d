/** Tracing that is set up as applications do it: before the library, and pg, are loaded. */
import assert from 'node:assert/strict'
import { assertSpans, statementSpans, traced } from '../support/spans.js'

traced()
const { openSuite } = await import('../support/suite.js')
const { ManagedConnection } = await import('pg-managed-connection')
const { endSoon } = await import('../support/manager.js')
const { test, database } = await openSuite()

test('an instrument that was there first sees each statement once', async () => {
  const manager = new ManagedConnection(database.conninfo)
  await using _end = { [Symbol.asyncDispose]: () => endSoon(manager) }
  const spans = await statementSpans(async () => {
    await manager.query('SELECT 1')
    await manager.transaction((connection) => connection.query('SELECT 2'))
    assert.equal((await manager.batch(['SELECT 3'])).length, 1)
  })
  assertSpans(spans, ['SELECT 1', 'SELECT 2', 'SELECT 3'])
})
