/** A sample of `make faults`: some bytes of the conversation, a short storm, some load. */
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { createDatabase } from '../support/database.js'
import { Random } from '../support/random.js'
import { leakTest } from '../support/suite.js'
import { prepareGrounds } from '../support/faults/grounds.js'
import { judgeLoad, runLoad } from '../support/faults/run-load.js'
import { managed } from '../support/faults/storm/managed.js'
import { runStorm, startStormServer } from '../support/faults/storm/storm.js'
import { planVerified, prepareVerified, tryVerified } from '../support/faults/verified.js'
import { measureLengths, planFaults, shuffle, sweep } from '../support/faults/sweep.js'

const test = leakTest()
const seed = Number(process.env['FAULTS_SEED'] || randomInt(2 ** 31))

const SAMPLE = 24
const VERIFIED_SAMPLE = 60
const STORM_MILLIS = 2_000

test(
  'cut, or deaf, at any byte: nothing is lost, doubled or left, and the next use works',
  { timeout: 120_000 },
  async (t) => {
    t.diagnostic(`FAULTS_SEED=${seed}`)
    await using grounds = await prepareGrounds()
    const lengths = await measureLengths(grounds, 1)
    const faults = shuffle(planFaults(lengths), new Random(seed)).slice(0, SAMPLE)
    const tally = await sweep(grounds, faults, { atOnce: 12, wave: SAMPLE })
    assert.deepEqual(tally.wrong, [])
    assert.ok(tally.trials === SAMPLE && tally.trials > tally.notReached, JSON.stringify(tally))
  },
)

test(
  'COMMITs that are found out about, cut at any byte: none stays unknown, and each is told the truth',
  { timeout: 180_000 },
  async (t) => {
    t.diagnostic(`FAULTS_SEED=${seed}`)
    await using database = await createDatabase()
    await prepareVerified(database)
    const faults = shuffle(await planVerified(database), new Random(seed)).slice(0, VERIFIED_SAMPLE)
    let verified = 0
    for (const fault of faults) {
      const verdict = await tryVerified(database, fault)
      verified += verdict.verified
      assert.deepEqual(verdict.wrong, [])
    }
    t.diagnostic(`${faults.length} cuts, ${verified} COMMITs found out about`)
  },
)

test('the storm: what callers were told is what is stored, and nobody hangs', async (t) => {
  await using server = await startStormServer()
  const result = await runStorm(server, managed, { seed, millis: STORM_MILLIS, tasks: 64 })
  const { wrong, blows, ...figures } = result
  t.diagnostic(`${JSON.stringify(figures)} ${JSON.stringify(Object.fromEntries(blows))}`)
  assert.deepEqual(wrong, [])
  assert.equal(result.hung, 0)
  assert.equal(result.uncaught, 0)
  assert.ok(result.confirmed > 0)
})

test('thousands at once, some of whom give up: everybody is told, and the heap is flat', async (t) => {
  await using database = await createDatabase()
  const figures = await runLoad({ conninfo: database.conninfo, queued: 2_000, millis: 500, seed })
  t.diagnostic(JSON.stringify(figures))
  assert.deepEqual(judgeLoad(figures), [])
})
