/** What a test file begins with: a database of its own and a `test` that notices leaks. */
import assert from 'node:assert/strict'
import { after, test as nodeTest, type TestContext } from 'node:test'
import { createDatabase, type DatabaseOptions, type TestDatabase } from './database.js'
import { TIMEOUT_VARIABLE } from './environment.js'
import { currentFace, type Need } from './face.js'
import { watchLeaks, type LeakOptions } from './leaks.js'
import { whyLeftOut } from './left-out.js'

/** Options of a single test: node's own, what it needs, and what the leak check may leave out. */
export interface TestOptions {
  readonly skip?: boolean | string
  readonly only?: boolean
  /** Milliseconds until it fails. */
  readonly timeout?: number
  /** What the face must have; on one that has not the test is left out. */
  readonly needs?: readonly Need[]
  /** See {@link LeakOptions.resources}. */
  readonly resources?: boolean
}

/** A test's body. */
export type TestBody = (t: TestContext) => void | Promise<void>

/** Declares a test, named by a sentence. */
export interface TestFunction {
  (sentence: string, body: TestBody): void
  (sentence: string, options: TestOptions, body: TestBody): void
}

/** How long a test may take unless it says otherwise. */
const TEST_MILLIS = Number(process.env[TIMEOUT_VARIABLE] || 60_000)

/**
 * A `test` that fails when its body leaves something behind. The check comes right after the body, so clean up in
 * the body, best with `await using`, and not in `t.after()`, which runs later.
 */
export function leakTest(leaks: LeakOptions = {}): TestFunction {
  return (sentence: string, ...rest: [TestBody] | [TestOptions, TestBody]): void => {
    const [{ resources, needs = [], ...options }, body] =
      rest.length === 1 ? [{} as TestOptions, rest[0]] : rest
    const face = currentFace()
    if (face !== null && !needs.every((need) => face.has(need))) return
    const watched = { ...leaks, resources: resources ?? leaks.resources }
    const leftOut = whyLeftOut(sentence)
    if (leftOut !== null) return void nodeTest(sentence, { skip: leftOut }, () => {})
    void nodeTest(sentence, { timeout: TEST_MILLIS, ...options }, (t) => runWatched(t, body, watched))
  }
}

async function runWatched(t: TestContext, body: TestBody, leaks: LeakOptions): Promise<void> {
  await leaks.admin?.backends() // connected before the watch begins, so that this is not taken for a leak
  t.signal.addEventListener('abort', () => currentFace()?.abandon())
  const watch = watchLeaks(leaks)
  try {
    await body(t)
  } catch (error) {
    for (const leak of await watch.check()) t.diagnostic(leak)
    throw error
  }
  const left = await watch.check()
  if (left.length > 0) assert.fail(`the test left something behind:\n${left.join('\n')}`)
}

/** The same, where something is done before each body, such as emptying tables. */
export function onGround(prepare: () => Promise<unknown>, test: TestFunction): TestFunction {
  return (sentence: string, ...rest: [TestBody] | [TestOptions, TestBody]): void => {
    const [options, body] = rest.length === 1 ? [{}, rest[0]] : rest
    test(sentence, options, async (t) => {
      await prepare()
      await body(t)
    })
  }
}

/**
 * A database for this file, dropped at its end, and the `test` that watches it.
 *
 * ```ts
 * const { test, database } = await openSuite()
 *
 * test('a forgotten commit is rolled back', async () => {
 *   await using manager = new ManagedConnection(database.conninfo)
 *   …
 * })
 * ```
 */
export async function openSuite(
  options: DatabaseOptions & LeakOptions = {},
): Promise<{ test: TestFunction; database: TestDatabase }> {
  const database = await (currentFace()?.createDatabase(options) ?? createDatabase(options))
  after(() => database.drop())
  return { test: leakTest({ ...options, admin: database.admin }), database }
}
