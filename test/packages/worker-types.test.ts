/** The types of both faces are one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkTypes } from '../support/examples.js'
import { pathOf } from '../support/root.js'

test('what is written against Manager and Connection takes both faces', () => {
  const code = `
import { ManagedConnection, type Connection, type Manager } from 'pg-managed-connection'
import { attach, share } from 'pg-managed-connection/worker'

const count = async (manager: Manager): Promise<number> => {
  const work = async (connection: Connection): Promise<number> => {
    const { rows } = await connection.query<{ n: number }>('SELECT 1 AS n', [])
    return rows[0]!.n
  }
  return (await manager.use(work)) + (await manager.transaction(work))
}
const owner = new ManagedConnection('postgres:///bank')
await count(owner)
const attached: Manager = attach(share(owner))
await count(attached)
const subscription = await attached.listen('jobs')
for await (const { channel } of subscription) console.log(channel)
share(owner.with({ label: 'a worker' }))
`
  assert.deepEqual(checkTypes([{ place: 'types', code }], {}, pathOf()), [])
})
