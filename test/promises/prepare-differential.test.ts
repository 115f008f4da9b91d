/**
 * Preparing is not to be seen: whatever several holders do to settings, tables and types, each of them sees what it sees
 * with `prepare: false`. The programs are random; `PREPARE_PROGRAMS` says how many, `PREPARE_SEED` repeats them.
 */
import assert from 'node:assert/strict'
import { randomProgram } from '../support/differential/programs.js'
import { Side } from '../support/differential/side.js'
import { createDatabase } from '../support/database.js'
import { Random } from '../support/random.js'
import { openSuite } from '../support/suite.js'

const COUNT = Number(process.env['PREPARE_PROGRAMS'] || 120)
const SEED = Number(process.env['PREPARE_SEED'] || Date.now() % 2 ** 31)

const { test, database } = await openSuite()

test(
  `${COUNT} random programs see the same with and without prepared statements (seed ${SEED})`,
  { timeout: 60_000 + COUNT * 500 },
  async () => {
    await using other = await createDatabase()
    await using prepared = new Side(database, true)
    await using plain = new Side(other, false)
    let mostPrepared = 0
    for (let index = 0; index < COUNT; index++) {
      const program = randomProgram(new Random(SEED + index))
      const [ours, theirs] = await Promise.all([prepared.run(program), plain.run(program)])
      mostPrepared = Math.max(mostPrepared, prepared.manager.stats.prepared)
      if (ours.join('\n') === theirs.join('\n')) continue
      const at = ours.findIndex((seen, place) => seen !== theirs[place])
      assert.fail(
        `PREPARE_SEED=${SEED + index} PREPARE_PROGRAMS=1: place ${at}\nprepared: ${ours[at]}\nplain:    ${theirs[at]}\n${JSON.stringify(program, null, 1)}`,
      )
    }
    // Else nothing was compared.
    assert.ok(COUNT < 20 || mostPrepared > 2, `at most ${mostPrepared} prepared`)
  },
)
