/** The tests of the core once more, on PGlite: the same sentences, the same bodies. */
import { test } from 'node:test'
import { createPGliteDatabase, Streams } from '../support/pglite/pglite-face.js'
import { startPGlite } from '../support/embedded.js'
import { useFace } from '../support/face.js'

/** The files that ask for nothing but a connection and another way to look. */
const FILES = [
  'promises/acquire',
  'promises/use',
  'promises/transaction',
  'promises/settlement',
  'promises/query',
  'promises/reentrance',
  'promises/context',
  'promises/stream',
  'promises/submittable',
  'promises/listen',
  'promises/end',
  'promises/errors',
  'promises/events',
  'promises/hold',
  'promises/reset',
  'faces/pool',
]

const db = await startPGlite()
// PGlite itself keeps no process alive, and node would take a test that waits for it for the end.
const alive = setInterval(() => {}, 60_000)

const streams = new Streams(db)

// One session, in this process: of what a test may need beyond that it has nothing.
useFace({
  createDatabase: () => createPGliteDatabase(db, streams),
  has: (need) => need === 'own thread',
  abandon: () => streams.destroy(),
})

for (const file of FILES) {
  await import(`../${file}.test.js`)
  // The next file empties the database, so this one's tests have to be over.
  await new Promise<void>((resolve) => {
    test(`${file}: on PGlite`, () => resolve())
  })
}

test('PGlite is as it was: its owner closes it', async () => {
  await db.close()
  clearInterval(alive)
})
