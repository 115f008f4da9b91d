/** The pages in docs/: their examples compile, and what they say of other packages is so. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { checkTypes, readExamples, readTable, type Surroundings } from '../support/examples.js'
import { pathOf } from '../support/root.js'

const MANAGER = { manager: "import('pg-managed-connection').ManagedConnection" }
const POOL = { ...MANAGER, pool: "import('pg-managed-connection/pool').ManagedPool" }

/** How many examples each page has at least, and what they use without saying where it comes from. */
const PAGES: Readonly<Record<string, { readonly atLeast: number; readonly given?: Surroundings }>> = {
  'docs/ecosystem.md': { atLeast: 6, given: POOL },
  'docs/growing.md': { atLeast: 4 },
  'docs/opentelemetry.md': { atLeast: 1, given: MANAGER },
  'docs/pglite.md': { atLeast: 1, given: MANAGER },
  'docs/worker-threads.md': { atLeast: 3 },
}

function read(page: string): string {
  return readFileSync(pathOf(page), 'utf8')
}

for (const [page, { atLeast, given = {} }] of Object.entries(PAGES)) {
  test(`every example of ${page} passes the compiler`, () => {
    const examples = readExamples(page, read(page))
    assert.ok(examples.length >= atLeast)
    assert.deepEqual(checkTypes(examples, given, pathOf()), [])
  })
}

test('the versions in the table of other libraries are those that the tests run with', () => {
  for (const [library = '', version] of readTable(read('docs/ecosystem.md'), 'library')) {
    const { version: installed } = JSON.parse(read(`node_modules/${library}/package.json`)) as {
      version: string
    }
    assert.equal(installed, version, library)
  }
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
  assert.deepEqual(checkTypes([{ place: 'types', code }], {}, pathOf()), [])
})
