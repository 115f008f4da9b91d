/** One suite of tests against both faces: the manager itself, and a worker's manager attached to it. */
import { openSuite } from './support/suite.js'
import { createFaces } from './worker/face.js'
import { testGiven } from './worker/given.js'
import { testNotifications } from './worker/notifications.js'
import { testStatements } from './worker/statements.js'
import { testTransactions } from './worker/transactions.js'
import { testTurns } from './worker/turns.js'

const { test, database } = await openSuite()

for (const face of createFaces(database)) {
  const suite = { test, database, face }
  testTurns(suite)
  await testTransactions(suite)
  testStatements(suite)
  testNotifications(suite)
  testGiven(suite)
}
