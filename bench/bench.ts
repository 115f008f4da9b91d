/**
 * Compares sharing one connection with other ways of using one: `make bench`.
 *
 * ```
 * node --expose-gc build/bench/bench.js [--quick] [--only=PART]… [--rounds=N] [--name=NAME] [--profile]
 * ```
 *
 * The server is the one that PGHOST, PGHOSTADDR or PGPORT name, otherwise one of our own. A target that is missed
 * is not a failure of the program; work that was not done is.
 */
import { relative } from 'node:path'
import { createDatabase, type TestDatabase } from '../test/support/database.js'
import { nameServer, namesServer } from '../test/support/environment.js'
import { startServer } from '../test/support/postgres.js'
import { startProxy } from '../test/support/proxy.js'
import { describeEnvironment } from './environment.js'
import { isWanted, readFlags, type Flags } from './flags.js'
import { measureFootprint } from './footprint.js'
import { onGround } from './grounds/ground.js'
import type { Place } from './place.js'
import { writeProfiles } from './profile.js'
import { Progress } from './progress.js'
import { FULL_RUN, save } from './report/save.js'
import { textTable } from './report/table.js'
import { countTargets, type Results, type RowResult } from './results.js'
import type { Row } from './row.js'
import { allRows } from './rows.js'
import { runRow, type Course } from './run-row.js'
import { TABLES } from './work.js'

const FOOTPRINT = { id: 'heap', title: 'heap of a pending acquire()' }

async function main(flags: Flags): Promise<void> {
  await using server = namesServer() ? null : await startServer()
  if (server !== null) nameServer(server.env)
  await using database = await createDatabase()
  await database.admin.query(TABLES)
  if (flags.profile) await profile(database, flags)
  else await measure(database, flags)
}

async function profile(database: TestDatabase, { only }: Flags): Promise<void> {
  for (const file of await writeProfiles(placeOf(database), only)) say(`wrote ${file}`)
}

async function measure(database: TestDatabase, flags: Flags): Promise<void> {
  const results = await measureAll(database, flags)
  const { met, all } = countTargets(results)
  say(`\n${textTable(results)}\n\n${met} of ${all} targets met`)
  for (const file of await save(results, flags.name ?? usualName(flags)))
    say(`wrote ${relative(process.cwd(), file)}`)
}

function usualName({ only, settings }: Flags): string {
  if (only.length > 0) return 'partial'
  return settings.mode === 'quick' ? 'quick' : FULL_RUN
}

async function measureAll(database: TestDatabase, flags: Flags): Promise<Results> {
  const { settings } = flags
  const wanted = allRows(settings.mode === 'quick').filter(({ id, title }) => isWanted(flags, id, title))
  const wantsFootprint = isWanted(flags, FOOTPRINT.id, FOOTPRINT.title)
  const environment = await describeEnvironment(placeOf(database), database.admin)
  const notes: string[] = []
  using progress = new Progress(wanted.length + Number(wantsFootprint))
  const note = (text: string): void => {
    notes.push(text)
    progress.note(text)
  }
  const course = { admin: database.admin, settings, note, progress: (step: string) => progress.step(step) }
  const rows: RowResult[] = []
  for (const row of wanted) {
    progress.begin(row.title)
    const result = await runRowThere(row, course, placeOf(database))
    if (result !== null) rows.push(result)
  }
  if (wantsFootprint) progress.begin(FOOTPRINT.title)
  const footprint = wantsFootprint ? await measureFootprint(placeOf(database), settings.rounds) : null
  if (wantsFootprint && footprint === null) note('heap: not measured without --expose-gc')
  return { environment, settings, rows, footprint, notes }
}

/** Straight to the server, through a proxy that takes its time, or on a server of the row's own. */
async function runRowThere(
  row: Row,
  course: Omit<Course, 'place'>,
  direct: Place,
): Promise<RowResult | null> {
  if (row.ground !== undefined) {
    return onGround(row.ground, async ({ name, login, admin }, about) => {
      course.note(`${row.id}: ${about}`)
      return runRow(row, { ...course, admin, place: { login, database: name } })
    })
  }
  if (row.delayMillis === 0) return runRow(row, { ...course, place: direct })
  await using proxy = await startProxy(direct.login)
  proxy.delayMillis = row.delayMillis
  const { host, port } = proxy
  return await runRow(row, { ...course, place: { ...direct, login: { ...direct.login, host, port } } })
}

function placeOf({ login, name }: TestDatabase): Place {
  return { login, database: name }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

await main(readFlags())
