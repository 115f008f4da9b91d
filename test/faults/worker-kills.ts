/**
 * Kills workers at random moments, 1,000 times unless it is told otherwise: `make faults-worker`.
 *
 * ```
 * node build/test/faults/worker-kills.js [--kills=N] [--seed=N]
 * ```
 *
 * The server is the one that PGHOST, PGHOSTADDR or PGPORT name, otherwise one of our own. Fails when the table
 * disagrees with what any worker knew, when something hangs, or when memory grows.
 */
import { parseArgs } from 'node:util'
import { createDatabase } from '../support/database.js'
import { nameServer, namesServer } from '../support/environment.js'
import { startServer } from '../support/postgres.js'
import { killWorkers, type KillReport } from '../support/faults/kill-workers.js'

/** The heap may be larger at the end than early in the run by this share. */
const GROWTH = 1.25

const { values: flags } = parseArgs({
  options: {
    kills: { type: 'string', default: '1000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})

/** The middle of the second quarter against that of the last: the first one still warms up. */
function growth(heap: readonly number[]): number {
  const middle = (from: number, to: number): number => {
    const part = heap
      .slice(Math.floor(heap.length * from), Math.ceil(heap.length * to))
      .toSorted((a, b) => a - b)
    return part[Math.floor(part.length / 2)]!
  }
  return middle(0.75, 1) / middle(0.25, 0.5)
}

function megabytes(bytes: number | undefined): string {
  return `${((bytes ?? 0) / 2 ** 20).toFixed(1)} MB`
}

function summarise(report: KillReport, grown: number): void {
  const { kills, ends, stored, gone, unknown, wrong, heap, longestWaitMillis } = report
  for (const sentence of wrong) console.log(sentence)
  const how = Object.entries(ends).map(([end, count]) => `${end} ${count}`)
  console.log(`${kills} kills: ${how.join(', ')}`)
  console.log(
    `${stored} rows known to be stored, ${gone} rolled back, ${unknown} not known; ${wrong.length} wrong`,
  )
  console.log(`longest wait for a turn behind a killed worker: ${longestWaitMillis} ms`)
  console.log(`heap: ${heap.map(megabytes).join(' ')} (x ${grown.toFixed(2)})`)
}

await using server = namesServer() ? null : await startServer()
if (server !== null) nameServer(server.env)
await using database = await createDatabase()
const seed = Number(flags.seed)
const kills = Number(flags.kills)
console.log(`seed ${seed}, ${kills} kills`)
const progress = (done: number): void => {
  if (done % 50 === 0) console.log(`${done} of ${kills}`)
}
const report = await killWorkers(database, { kills, seed, progress })
const grown = growth(report.heap)
summarise(report, grown)
const passed = report.wrong.length === 0 && !(grown > GROWTH)
console.log(passed ? `worker kills: ${kills} passed, seed ${seed}` : `worker kills: FAILED, seed ${seed}`)
process.exitCode = passed ? 0 : 1
