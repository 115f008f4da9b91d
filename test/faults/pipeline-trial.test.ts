/** Something in between that loses statements which are sent before the one ahead of them is answered. */
import assert from 'node:assert/strict'
import { ConnectionLostError } from 'pg-managed-connection'
import { caught } from '../support/caught.js'
import { openConnected, type Proxied } from '../support/proxied.js'
import { openSuite } from '../support/suite.js'
import { within } from '../support/wait.js'

const { test, database } = await openSuite()

const SYNC = 0x53
const QUERY = 0x51
const READY = 0x5a

/** Where the first request in these messages ends; their length where none does. */
function endOfRequest(messages: Buffer): number {
  for (let at = 0; at < messages.length; at += 1 + messages.readUInt32BE(at + 1)) {
    const type = messages[at]
    if (type === SYNC || type === QUERY) return at + 1 + messages.readUInt32BE(at + 1)
  }
  return messages.length
}

/** Passes one request at a time on, and drops what comes while it is unanswered. */
function losePipelined({ proxy }: Proxied): void {
  let busy = false
  proxy.onChunk = (direction, chunk) => {
    if (direction === 'toClient') {
      // ReadyForQuery is the last of an answer: its letter, a length of 5, the status.
      if (chunk.length >= 6 && chunk[chunk.length - 6] === READY) busy = false
      return chunk
    }
    if (busy) return null
    busy = true
    return chunk.subarray(0, endOfRequest(chunk))
  }
}

test('a statement that was lost is an error that names the option, and none where it is set', async () => {
  await using wire = await openConnected(database)
  losePipelined(wire)
  const asked = [1, 2, 3].map((n) => wire.manager.query('SELECT $1::int AS n', [n]))
  assert.deepEqual((await within(asked[0]!, 'the first')).rows, [{ n: 1 }])
  const [second, third] = await Promise.all(
    asked.slice(1).map((lost) => caught(within(lost, 'the lost one', 15_000), ConnectionLostError)),
  )
  assert.match(String((second!.cause as Error).message), /pipeline: false/)
  assert.match(String((third!.cause as Error).message), /pipeline: false/)
  await using single = await openConnected(database, { pipeline: false })
  losePipelined(single)
  const each = await Promise.all([1, 2, 3].map((n) => single.manager.query('SELECT $1::int AS n', [n])))
  assert.deepEqual(
    each.map(({ rows }) => rows[0].n),
    [1, 2, 3],
  )
})

test('a slow statement is waited for, and what is behind it is answered', async () => {
  await using wire = await openConnected(database)
  const slow = wire.manager.query('SELECT pg_sleep(5.5)')
  const behind = wire.manager.query('SELECT 2 AS two')
  await within(slow, 'the slow one', 15_000)
  assert.deepEqual((await within(behind, 'the one behind')).rows, [{ two: 2 }])
  const [last] = wire.recording.sentTogether().slice(-1)
  assert.deepEqual(last, ['Sync'])
  assert.deepEqual((await wire.manager.query('SELECT 3 AS three')).rows, [{ three: 3 }])
  assert.equal(wire.manager.stats.connects, 1)
})
