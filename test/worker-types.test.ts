/** The page about worker threads: its examples compile. And the types of both faces are one. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { checkTypes, readExamples } from './support/examples.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

test('every example of the page passes the compiler', () => {
  const page = readFileSync(join(root, 'docs/worker-threads.md'), 'utf8')
  const examples = readExamples('docs/worker-threads.md', page)
  assert.ok(examples.length >= 3)
  assert.deepEqual(checkTypes(examples, {}, root), [])
})

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
// @ts-expect-error an attached manager cannot be shared again
share(attached)
`
  assert.deepEqual(checkTypes([{ place: 'types', code }], {}, root), [])
})
