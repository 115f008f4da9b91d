/** The example of a pool of threads runs, and says what it should. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { openSuite } from './support/suite.js'

const { test, database } = await openSuite()

const EXAMPLE = fileURLToPath(new URL('../examples/worker-pool/main.js', import.meta.url))

test('a pool of threads shares one connection', async () => {
  const env = { ...process.env, PGDATABASE: database.name }
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [EXAMPLE], { env, timeout: 60_000 })
  assert.match(stdout, /^24 documents digested by \d+ threads on 1 connection$/m)
  assert.equal(stderr, '')
})
