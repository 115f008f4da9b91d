/** Each example runs with one command and prints what it promises. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePort } from '../support/free-port.js'
import { root } from '../support/root.js'
import { openSuite } from '../support/suite.js'

const run = promisify(execFile)
const { test, database } = await openSuite()
const folder = new URL('build/examples/', root)

/** What each prints, in order; other lines may stand between. */
const OUTPUTS: Readonly<Record<string, readonly RegExp[]>> = {
  'quick-start': [/^the failing task: changed my mind$/, /^visits: 100$/, /^server connections: 1$/],
  'exactly-once-payment': [/^the lost COMMIT was found out: none$/, /^attempts: 2$/, /^payments stored: 1$/],
  'cron-worker': [1, 2, 3].flatMap((n) => [
    /^one of them works$/,
    new RegExp(`^run ${n}: 1 of 2 had the lock$`),
  ]),
  leader: [
    /^machine 1 has done run 1$/,
    /^machine 1: the machine is shut down$/,
    /^machine 2 leads$/,
    /^machine 2 has done run 6$/,
    /^runs: 6$/,
  ],
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
  'web-service': [
    /^ann has 1$/,
    /^bob has 1$/,
    /^ann has 2$/,
    /^a client: gave up$/,
    /^the next was served within a second: true$/,
    /^health: ok$/,
    /^stopped; the last request was answered: 201$/,
  ],
  'queue-worker': [/^jobs done: 12, failures: 1, tried again: 1$/, /^server connections: 1$/],
  'command-line': [
    /^\{"one":1\}$/,
    /^exit code: 0$/,
    /^ERROR: division by zero \(22012\)$/,
    /^exit code: 1$/,
    /^connection to server .* failed: Connection refused$/,
    /^exit code: 1$/,
    /^exit code: 130$/,
  ],
  'pglite-in-tests': [/pass 2$/, /fail 0$/],
  tenants: [
    /^tenant \d sees: a letter of \d$/,
    /^tenant \d sees: a letter of \d$/,
    /^tenant \d sees: a letter of \d$/,
    /^the login sees: 3 documents$/,
    /^server connections: 1$/,
  ],
  kysely: [/^20 answers, the first: \[ \{ name: 'Tom', kind: 'cat' \} \]$/, /^server connections: 1$/],
  'rollback-after-each-test': [/pass 2$/, /fail 0$/],
  'sandbox-web-service': [/pass 3$/, /fail 0$/],
  embedded: [/buy milk.*call Bob/],
  'worker-pool': [/^documents digested: 24$/, /^threads: \d+$/, /^server connections: 1$/],
}

function pathOf(name: string): string {
  return fileURLToPath(new URL(`${name}.js`, folder))
}

/** Ours, without what node's test runner tells its files. */
function ownEnvironment(): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _, ...rest } = process.env
  return rest
}

/** Parts of others, and not run alone. */
const PARTS = ['serverless-handler', 'worker-pool-task']

test('every example is checked here', () => {
  const names = readdirSync(folder).filter((name) => name.endsWith('.js'))
  const expected = [...Object.keys(OUTPUTS), ...PARTS].map((name) => `${name}.js`)
  assert.deepEqual(names.sort(), expected.sort())
})

/** These need no server. */
const EMBEDDED = ['embedded', 'pglite-in-tests']

for (const name of Object.keys(OUTPUTS).filter((each) => !EMBEDDED.includes(each))) {
  test(`the example ${name} says that it fails where its server is not there`, async () => {
    const env = { ...ownEnvironment(), PGHOST: '127.0.0.1', PGPORT: String(await freePort()) }
    const failing = run(process.execPath, [pathOf(name)], { env })
    await assert.rejects(failing, ({ code }: { code?: unknown }) => code === 1)
  })
}

test('the example serverless brings a server of its own, whatever the environment says of others', async () => {
  const own = Object.entries(ownEnvironment()).filter(([variable]) => !variable.startsWith('PG'))
  const env = {
    ...Object.fromEntries(own),
    PGSSLMODE: 'require',
    PGOPTIONS: '-c nonsense=1',
    PGUSER: 'nobody_here',
  }
  const { stdout } = await run(process.execPath, [pathOf('serverless')], { env })
  assert.match(stdout, /^hello, Cleo/m)
})

for (const [name, expected] of Object.entries(OUTPUTS)) {
  test(`the example ${name} does what it says`, async () => {
    const env = { ...ownEnvironment(), PGDATABASE: database.name, PGAPPNAME: 'example' }
    const { stdout, stderr } = await run(process.execPath, [pathOf(name)], { env })
    assert.equal(stderr, '')
    const lines = stdout.split('\n')
    for (const line of expected) {
      const at = lines.findIndex((printed) => line.test(printed))
      assert.ok(at >= 0, `${String(line)} is missing in:\n${stdout}`)
      lines.splice(0, at + 1)
    }
  })
}
