/** The tests of the core once more, on PGlite: the same sentences, the same bodies. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LEFT_OUT } from './pglite/left-out.js'
import { createPGliteDatabase, Streams } from './pglite/pglite-face.js'
import { startPGlite } from './support/embedded.js'
import { useFace } from './support/face.js'

/** The files that ask for nothing but a connection and another way to look. */
const FILES = [
  'acquire',
  'use',
  'transaction',
  'settlement',
  'query',
  'reentrance',
  'context',
  'stream',
  'submittable',
  'listen',
  'end',
  'errors',
  'events',
  'hold',
  'reset',
  'pool',
]

const db = await startPGlite()
// PGlite itself keeps no process alive, and node would take a test that waits for it for the end.
const alive = setInterval(() => {}, 60_000)

const streams = new Streams(db)

const unmet = new Set(Object.values(LEFT_OUT).flat())
const leftOut = new Set(unmet)
useFace({
  createDatabase: () => createPGliteDatabase(db, streams),
  leavesOut: (sentence) => {
    unmet.delete(sentence)
    return leftOut.has(sentence)
  },
  abandon: () => streams.destroy(),
})

for (const file of FILES) {
  await import(`./${file}.test.js`)
  // The next file empties the database, so this one's tests have to be over.
  await new Promise<void>((resolve) => {
    test(`${file}: on PGlite`, () => resolve())
  })
}

test('what is left out on PGlite is there on a server', () => {
  assert.deepEqual([...unmet], [])
})

test('PGlite is as it was: its owner closes it', async () => {
  await db.close()
  clearInterval(alive)
})
