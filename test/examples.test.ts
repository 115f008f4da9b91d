/** Each example runs with one command and prints what it promises. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { openSuite } from './support/suite.js'

const run = promisify(execFile)
const { test, database } = await openSuite()
const folder = new URL('../examples/', import.meta.url)

/** What each prints, in order; other lines may stand between. */
const OUTPUTS: Readonly<Record<string, readonly RegExp[]>> = {
  'quick-start': [/^the failing task: changed my mind$/, /^visits: 100$/, /^server connections: 1$/],
  'cron-worker': [1, 2, 3].flatMap((n) => [
    /^one of them works$/,
    new RegExp(`^run ${n}: 1 of 2 had the lock$`),
  ]),
  'notify-daemon': [
    /^told of: sweep$/,
    /^done: sweep$/,
    /^the connection was lost: looking at the table$/,
    /^done: mop$/,
    /^told of: mop$/,
  ],
  serverless: [
    /^hello, Ann \(connection 1\)$/,
    /^hello, Bob \(connection 1\)$/,
    /^frozen$/,
    /^thawed$/,
    /^hello, Cleo \(connection 2\)$/,
  ],
  kysely: [/^20 answers, the first: \[ \{ name: 'Tom', kind: 'cat' \} \]$/, /^server connections: 1$/],
  'rollback-after-each-test': [/pass 2$/, /fail 0$/],
  embedded: [/buy milk.*call Bob/],
  'worker-pool': [/^documents digested: 24$/, /^threads: \d+$/, /^server connections: 1$/],
}

/** Parts of others, and not run alone. */
const PARTS = ['serverless-handler', 'worker-pool-task']

test('every example is checked here', () => {
  const names = readdirSync(folder).filter((name) => name.endsWith('.js'))
  const expected = [...Object.keys(OUTPUTS), ...PARTS].map((name) => `${name}.js`)
  assert.deepEqual(names.sort(), expected.sort())
})

for (const [name, expected] of Object.entries(OUTPUTS)) {
  test(`the example ${name} does what it says`, async () => {
    const { NODE_TEST_CONTEXT: _, ...rest } = process.env
    const env = { ...rest, PGDATABASE: database.name, PGAPPNAME: 'example' }
    const { stdout, stderr } = await run(process.execPath, [fileURLToPath(new URL(`${name}.js`, folder))], {
      env,
    })
    assert.equal(stderr, '')
    const lines = stdout.split('\n')
    for (const line of expected) {
      const at = lines.findIndex((printed) => line.test(printed))
      assert.ok(at >= 0, `${String(line)} is missing in:\n${stdout}`)
      lines.splice(0, at + 1)
    }
  })
}
