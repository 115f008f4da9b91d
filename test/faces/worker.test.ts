/** One suite of tests against both faces: the manager itself, and a worker's manager attached to it. */
import { openSuite, type TestBody, type TestFunction, type TestOptions } from '../support/suite.js'
import { createFaces } from '../support/worker/face.js'
import { testGiven } from './worker/given.js'
import { testNotifications } from './worker/notifications.js'
import { testStatements } from './worker/statements.js'
import { testTransactions } from './worker/transactions.js'
import { testTurns } from './worker/turns.js'

const { test: declare, database } = await openSuite()

for (const face of createFaces(database)) {
  const test: TestFunction = (sentence: string, ...rest: [TestBody] | [TestOptions, TestBody]) =>
    declare(`${face.name}: ${sentence}`, ...(rest as [TestOptions, TestBody]))
  const suite = { test, database, face }
  testTurns(suite)
  await testTransactions(suite)
  testStatements(suite)
  testNotifications(suite)
  testGiven(suite)
}
