/** Several hundred tasks on one backend, beside the same tasks on a pool of one. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { increment, type Row } from '../counters.js'
import { Progress } from '../progress.js'
import { count, heading, say, write } from '../screen.js'
import { managedBackends, type Stage } from '../stage.js'
import { writeTable } from '../table.js'

const TASKS = 400
/** How many transactions each task makes in a round, one after the other. */
const TRANSACTIONS = 4
const WARM_UPS = 2
const ROUNDS = 7
const ROUND_SIZE = TASKS * TRANSACTIONS

/** One way to run a transaction which increments its row. */
interface Contender {
  readonly row: Row
  readonly transact: () => Promise<void>
  readonly rates: number[]
}

export async function shareOneBackend(stage: Stage): Promise<void> {
  heading(`${TASKS} tasks, one row, one backend`)
  say(
    'Each task reads a number, adds one in JavaScript and writes it back, in a transaction: were two of them ' +
      'ever inside together, an increment would be lost. The same tasks run on pg.Pool with max: 1, round by ' +
      'round in turn.',
  )
  write()
  const pids = new Set<number | null>()
  const pool = new pg.Pool({ connectionString: stage.server.conninfo(), max: 1 })
  const managed: Contender = { row: 'managed', transact: () => transactManaged(stage, pids), rates: [] }
  const pooled: Contender = { row: 'pool', transact: () => transactPooled(pool), rates: [] }
  let seen: Set<number>
  try {
    seen = await runRounds(stage, managed, pooled)
  } finally {
    await pool.end()
  }
  const [pid] = pids
  say(`The tasks' backend is process ${pid}; pg_stat_activity shows ${[...seen].join(', ')}.`)
  stage.claims.check(
    pids.size === 1 && seen.size === 1 && seen.has(pid!) && stage.manager.stats.connects === 1,
    `all ${count(stage.manager.stats.acquires)} turns so far had the same server process, and there was no other`,
  )
  stage.claims.check(stage.occupancy.most === 1, 'there was never more than one task inside')
  await compareRates(managed, pooled)
}

async function transactManaged({ manager, occupancy }: Stage, pids: Set<number | null>): Promise<void> {
  await manager.transaction((connection) =>
    occupancy.during(async () => {
      pids.add(connection.processID)
      await increment(connection, 'managed')
    }),
  )
}

/** As pg's manual writes a transaction. */
async function transactPooled(pool: pg.Pool): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await increment(client, 'pool')
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

/** Rounds that do not count, and then those that do. Returns the backends seen meanwhile. */
async function runRounds(stage: Stage, managed: Contender, pooled: Contender): Promise<Set<number>> {
  using progress = new Progress('increments', (WARM_UPS + ROUNDS) * 2 * ROUND_SIZE)
  progress.note('(warming up)')
  const seen = new Set<number>()
  for (let round = 1; round <= WARM_UPS; round++) {
    await runRound(stage, pooled, progress)
    // The server is asked who is connected while nothing is measured.
    await Promise.all([watchBackends(stage, seen, progress), runRound(stage, managed, progress)])
  }
  for (const contender of [managed, pooled]) contender.rates.length = 0
  for (let round = 1; round <= ROUNDS; round++) {
    const order = round % 2 === 1 ? [managed, pooled] : [pooled, managed]
    for (const contender of order) {
      progress.note(
        `(round ${round} of ${ROUNDS}: ${contender === pooled ? 'pg.Pool' : 'pg-managed-connection'})`,
      )
      await runRound(stage, contender, progress)
    }
    for (const pid of await managedBackends(stage)) seen.add(pid)
  }
  return seen
}

/** Looks again and again, for as long as a round takes. */
async function watchBackends(stage: Stage, seen: Set<number>, progress: Progress): Promise<void> {
  const end = progress.done + ROUND_SIZE
  do {
    for (const pid of await managedBackends(stage)) seen.add(pid)
    await sleep(20)
  } while (progress.done < end && !progress.over)
}

async function runRound(
  { counters }: Stage,
  { row, transact, rates }: Contender,
  progress: Progress,
): Promise<void> {
  const start = performance.now()
  await Promise.all(
    Array.from({ length: TASKS }, async () => {
      for (let i = 0; i < TRANSACTIONS; i++) {
        await transact()
        counters.confirm(row)
        progress.tick()
      }
    }),
  )
  rates.push(ROUND_SIZE / ((performance.now() - start) / 1_000))
}

async function compareRates(managed: Contender, pooled: Contender): Promise<void> {
  const row = (name: string, { rates }: Contender): string[] => [
    name,
    count(median(rates)),
    `${count(Math.min(...rates))} to ${count(Math.max(...rates))}`,
  ]
  write()
  writeTable(
    ['transactions a second', 'median', `of ${ROUNDS} rounds`],
    [row('pg-managed-connection', managed), row('pg.Pool, max: 1', pooled)],
  )
  const ratios = managed.rates.map((rate, round) => rate / pooled.rates[round]!)
  say(
    `Round by round that is ${median(ratios).toFixed(1)} times the pool's rate (median). Both speak over a Unix ` +
      'socket here; nothing below depends on these figures.',
  )
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
