/** What a person sees of a `ConnectError` that nobody caught, or that was written to a log. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { ConnectError } from 'pg-managed-connection'
import { caught } from '../support/caught.js'
import { internal } from '../support/internals.js'
import { freePort } from '../support/free-port.js'
import { ManagedConnection } from '../support/managed.js'
import { pathOf } from '../support/root.js'

const { nameErrors } = await internal('nameErrors')

const MOST_LINES = 15
const HINT = /`npx pg-managed-connection check`/
const SECRET = 'h1dden'

/** Runs a program that has `conninfo`, and gives what it wrote to stderr, without the empty line at the end. */
function complaintOf(program: string, conninfo: string): Promise<string> {
  const text = `import { ManagedConnection } from 'pg-managed-connection'\n${program}`
  const args = ['--input-type=module', '-e', text, conninfo]
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: pathOf('.') }, (_error, _stdout, stderr) =>
      resolve(stderr.trimEnd()),
    )
  })
}

const UNCAUGHT = `
async function theProgram() {
  await new ManagedConnection(process.argv[1]).query('SELECT 1')
}
await theProgram()`

const IN_A_WORKER = `
import { Worker } from 'node:worker_threads'
import { share } from 'pg-managed-connection/worker'
const port = share(new ManagedConnection(process.argv[1]))
const text = \`
  import { workerData } from 'node:worker_threads'
  import { attach } from 'pg-managed-connection/worker'
  const theProgram = async () => { await attach(workerData).query('SELECT 1') }
  theProgram().catch((error) => { console.error(error) })\`
new Worker(text, { eval: true, workerData: port, transferList: [port] })`

async function nobodyAt(hosts: number): Promise<string> {
  const port = await freePort()
  const names = Array.from({ length: hosts }, (_, n) => `127.0.0.${n + 1}`)
  return `host=${names.join()} port=${port} user=u dbname=d password=${SECRET}`
}

for (const [where, program] of Object.entries({ uncaught: UNCAUGHT, 'in a worker': IN_A_WORKER })) {
  for (const hosts of [1, 2, 9]) {
    test(`${where}, with ${hosts} hosts: at most fifteen lines, the program’s frames, what to do`, async () => {
      const shown = await complaintOf(program, await nobodyAt(hosts))
      assert.ok(shown.split('\n').length <= MOST_LINES, shown)
      assert.match(shown, /^ConnectError: .*"127\.0\.0\.1".* failed: Connection refused$/m)
      if (hosts > 1) assert.match(shown, /^ {2}connection to server at "127\.0\.0\.2".* refused$/m)
      if (hosts > 2) assert.match(shown, /^ {2}and 7 more/m)
      assert.match(shown, /^ {4}at .*theProgram/m)
      assert.ok(!shown.includes('/dist/'), shown)
      assert.match(shown, /^ {2}Check that the server runs.*\n {2}To find out more, run `npx /m)
      assert.match(shown, HINT)
      assert.ok(!shown.includes(SECRET))
    })
  }
}

test('an inspection is as short at any depth, with colours, and inside of another error', async () => {
  await using manager = new ManagedConnection(await nobodyAt(9))
  const error = await caught(manager.query('SELECT 1'), ConnectError)
  for (const options of [{}, { depth: 0 }, { depth: Infinity }, { colors: true }, { customInspect: false }]) {
    assert.ok(inspect(error, options).split('\n').length <= MOST_LINES, inspect(error, options))
    assert.match(inspect(error, options), HINT)
  }
  const outer = new Error('outer', { cause: error })
  outer.stack = 'Error: outer\n    at theProgram'
  assert.ok(inspect(outer).split('\n').length <= MOST_LINES, inspect(outer))
  assert.match(error.stack!, HINT)
})

test('the fields are what they were: errors, cause, code, retrySafe', async () => {
  await using manager = new ManagedConnection(await nobodyAt(2))
  const error = await caught(manager.query('SELECT 1'), ConnectError)
  assert.equal(error.errors.length, 2)
  assert.equal(error.cause, error.errors[1])
  assert.deepEqual([error.code, error.retrySafe], ['ERR_CONNECT', true])
  const members: string[] = []
  for (const name in error) members.push(name)
  assert.deepEqual(members.sort(), ['code', 'errors', 'retrySafe'])
  const another = new Error('another')
  error.cause = another
  assert.equal(error.cause, another)
})

test('an error of the program’s own, as of onConnect, is told with its frames', () => {
  const error = new ConnectError('the connection could not be set up: mine', { errors: [new Error('mine')] })
  assert.match(inspect(error), /\[cause\]: Error: mine\n +at /)
  assert.doesNotMatch(inspect(error), HINT)
})

test('what a minifier calls the class is not shown', () => {
  const minified = class a extends Error {}
  nameErrors({ Renamed: minified })
  assert.match(inspect(new minified('x')), /^Renamed: x\n/)
})

test('a wrong connection string is shown with the command that knows the strings of other programs', async () => {
  const complaint = await complaintOf(UNCAUGHT, `postgres://ada:${SECRET}@localhost/bank?schema=public`)
  assert.match(complaint, /ConninfoError: invalid URI query parameter: "schema"\n/)
  assert.match(complaint, HINT)
  assert.doesNotMatch(complaint, new RegExp(SECRET))
})
