/** The tests of the core once more, on a worker's manager: the same sentences, the same bodies. */
import { createDatabase } from '../support/database.js'
import { useFace } from '../support/face.js'
import { AttachedConnection } from '../support/worker/promises-face.js'

const FILES = [
  'acquire',
  'use',
  'transaction',
  'settlement',
  'query',
  'reentrance',
  'context',
  'stream',
  'listen',
  'end',
  'errors',
  'hold',
  'traps',
  'group-commit',
  'verify-commit',
  'given',
  'results',
  'prepared',
  'cancel',
  'patience',
  'injection',
  'reset',
  'labels',
  'tracing',
  'connect',
  'settings',
  'signals',
]

useFace({
  ManagedConnection: AttachedConnection,
  createDatabase,
  has: (need) => need !== 'own thread',
  abandon: () => {},
})

for (const file of FILES) await import(`../promises/${file}.test.js`)
