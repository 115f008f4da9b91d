/** Measures one row: everybody connects, proves itself, warms up, and then takes turns, round by round. */
import type { Admin } from '../test/support/admin.js'
import type { Entrant } from './contestants/contestant.js'
import type { Place } from './place.js'
import { prove } from './proof.js'
import { compare, type EntryResult, type RowResult, type Settings } from './results.js'
import type { Entry, Row } from './row.js'
import { ratios, summarise } from './statistics.js'

export interface Course {
  readonly place: Place
  readonly admin: Admin
  readonly settings: Settings
  /** Called before each step. */
  progress(step: string): void
  note(text: string): void
}

interface Runner {
  readonly entry: Entry
  readonly tasks: number
  readonly entrant: Entrant
  readonly rates: number[]
}

/** The result, or null when nothing is left to compare with. */
export async function runRow(row: Row, course: Course): Promise<RowResult | null> {
  const runners: Runner[] = []
  try {
    for (const entry of row.entries) {
      const runner = await prepare(row, entry, course)
      if (runner !== null) runners.push(runner)
    }
    if (runners.length < 2) return null
    for (let round = 0; round < course.settings.rounds; round++) await runRound(runners, round, course)
  } finally {
    for (const { entrant } of runners) await entrant.close()
  }
  noteLatency(row, runners, course)
  noteOthers(row, runners, course)
  return conclude(row, runners)
}

/** How much longer one operation takes than with the first: the median of the rounds' differences. */
function noteLatency({ id, addedMicros }: Row, [first, ...others]: readonly Runner[], course: Course): void {
  if (addedMicros === undefined) return
  for (const { entry, rates } of others) {
    const added = rates.map((rate, round) => 1e6 / rate - 1e6 / first!.rates[round]!)
    const { median } = summarise(added)
    const verdict = median <= addedMicros ? 'met' : 'MISSED'
    course.note(`${id}: ${entry.name} +${Math.round(median)} µs (target <= ${addedMicros}: ${verdict})`)
  }
}

/** What the ratios are with another entry as the first. */
function noteOthers({ id, alsoFirst = [] }: Row, runners: readonly Runner[], course: Course): void {
  for (const one of runners.filter(({ entry }) => alsoFirst.includes(entry.name))) {
    const others = runners.filter(({ entry }, index) => index > 0 && !entry.ours)
    const compared = others.map(({ entry, rates }) => {
      const { median, low, high } = summarise(ratios(one.rates, rates))
      return `${median.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)}) × ${entry.name}`
    })
    course.note(`${id}: ${one.entry.name} is ${compared.join('; ')}`)
  }
}

/** Connects, proves and warms up. Null when it is somebody else who can't. */
async function prepare(row: Row, entry: Entry, course: Course): Promise<Runner | null> {
  const { place, admin, settings } = course
  const tasks = entry.tasks ?? row.tasks
  course.progress(`${entry.name}: proof and warm-up`)
  try {
    await prove(entry.contestant, { place, work: row.work, tasks }, admin)
    const entrant = await entry.contestant({ place, work: row.work, tasks })
    await entrant.run(settings.warmUpMillis * (entrant.threads ?? 1))
    return { entry, tasks, entrant, rates: [] }
  } catch (error) {
    if (row.kind === 'growth' || entry === row.entries[0]) throw error
    course.note(`${row.id}: without ${entry.name} (${reasonOf(error)})`)
    return null
  }
}

/** Another one begins in each round, so that nobody always comes after the same neighbour. */
async function runRound(runners: readonly Runner[], round: number, course: Course): Promise<void> {
  for (let index = 0; index < runners.length; index++) {
    const { entry, entrant, rates } = runners[(index + round) % runners.length]!
    course.progress(`round ${round + 1} of ${course.settings.rounds}: ${entry.name}`)
    // No forced collection in between: with one, rates fell to less than half, as if the code ran cold again.
    rates.push(await entrant.run(course.settings.sampleMillis))
  }
}

function conclude(row: Row, runners: readonly Runner[]): RowResult {
  const { id, title, unit, tasks, delayMillis, kind } = row
  const first = runners[0]!.rates
  const entries = runners.map(({ entry, tasks, rates }, index): EntryResult => {
    const comparison = index === 0 ? null : compare(kind, first, rates, entry.target ?? null)
    return {
      name: entry.name,
      tasks,
      ...(entry.ours && { ours: entry.ours }),
      rates: rates.map(Math.round),
      median: summarise(rates).median,
      comparison,
    }
  })
  return { id, title, unit, tasks, delayMillis, kind, entries }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ERR_MODULE_NOT_FOUND') return 'not installed'
  return String(message).split('\n')[0]!
}
