/**
 * The turn, the settlement and the reconnect explored over interleavings: the package as it is built, over pg, against a
 * model of the server's session, every event of which is chosen. MODEL_SEED repeats a schedule exactly;
 * MODEL_SCHEDULES says how many to explore (`make faults-model` explores 120,000).
 */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { RandomChooser, SystematicChooser, type Chooser } from '../support/model/choices.js'
import { randomProgram, SMALL_PROGRAMS, type Program } from '../support/model/programs.js'
import { VirtualTime } from '../support/model/virtual-time.js'
import { World } from '../support/model/world.js'
import { Random } from '../support/random.js'

const SCHEDULES = Number(process.env['MODEL_SCHEDULES'] || 1_500)
const GIVEN_SEED = process.env['MODEL_SEED']
const SEED = Number(GIVEN_SEED || Math.floor(Math.random() * 2 ** 31))
/** The share of the systematic search. */
const SYSTEMATIC = 0.4
const TIMEOUT_MILLIS = 60_000 + SCHEDULES * 20

/** What was seen so far. */
class Exploration {
  readonly seen = new Set<number>()
  readonly figures = { schedules: 0, events: 0, deaths: 0, confirmed: 0, refused: 0, unknown: 0 }
  #progressAt = Date.now()

  async explore(program: Program, chooser: Chooser, time: VirtualTime, how: string, seed = 0): Promise<void> {
    time.reset(seed)
    const world = new World(program, chooser, time)
    world.note(how.replace(/ \d+$/, ''))
    world.note(JSON.stringify(program))
    const wrong = await world.run()
    if (wrong.length > 0) this.#fail(world, wrong, how)
    this.seen.add(world.hash.value)
    const { figures } = this
    figures.schedules++
    figures.events += world.trace.length
    figures.deaths += world.died
    for (const fate of ['confirmed', 'refused', 'unknown'] as const) figures[fate] += world.ledger.count(fate)
    this.#showProgress()
  }

  #fail(world: World, wrong: readonly string[], how: string): never {
    const trace = world.trace.slice(1).join('\n  ')
    assert.fail(`${how}:\n${wrong.slice(0, 10).join('\n')}\nwhat happened:\n  ${trace}`)
  }

  #showProgress(): void {
    if (SCHEDULES < 20_000 || Date.now() - this.#progressAt < 10_000) return
    this.#progressAt = Date.now()
    process.stderr.write(`${this.figures.schedules} schedules, ${this.seen.size} distinct\n`)
  }

  report(t: TestContext): void {
    t.diagnostic(JSON.stringify({ ...this.figures, distinct: this.seen.size }))
  }
}

test('random programs in random schedules keep every promise', { timeout: TIMEOUT_MILLIS }, async (t) => {
  t.diagnostic(`MODEL_SEED=${SEED}`)
  const exploration = new Exploration()
  using time = new VirtualTime()
  const wanted = GIVEN_SEED === undefined ? Math.ceil(SCHEDULES * (1 - SYSTEMATIC)) : 1
  for (let seed = SEED; exploration.seen.size < wanted; seed++) {
    const program = randomProgram(new Random(seed))
    await exploration.explore(program, new RandomChooser(seed + 1), time, `MODEL_SEED=${seed}`, seed)
    assert.ok(exploration.figures.schedules < wanted * 2 + 100, 'the schedules repeat themselves')
  }
  exploration.report(t)
})

for (const [name, program] of Object.entries(SMALL_PROGRAMS)) {
  test(
    `every schedule near the straight one of ${name} keeps every promise`,
    { timeout: TIMEOUT_MILLIS },
    async (t) => {
      const exploration = new Exploration()
      using time = new VirtualTime()
      const wanted = Math.ceil((SCHEDULES * SYSTEMATIC) / Object.keys(SMALL_PROGRAMS).length)
      const chooser = new SystematicChooser(wanted)
      do await exploration.explore(program, chooser, time, name)
      while (exploration.figures.schedules < wanted && chooser.advance())
      assert.ok(exploration.figures.confirmed > 0, 'nothing was ever stored')
      exploration.report(t)
    },
  )
}

/** What takes its time is far from the straight schedule: these are explored by chance. */
for (const [name, program] of Object.entries(SMALL_PROGRAMS).filter(([, { slow = 0 }]) => slow > 0)) {
  test(`schedules by chance of ${name} keep every promise`, { timeout: TIMEOUT_MILLIS }, async (t) => {
    const exploration = new Exploration()
    using time = new VirtualTime()
    const wanted = Math.ceil((SCHEDULES * SYSTEMATIC) / 2)
    for (let seed = SEED; exploration.figures.schedules < wanted; seed++)
      await exploration.explore(program, new RandomChooser(seed), time, `${name}, MODEL_SEED=${seed}`, seed)
    exploration.report(t)
  })
}
