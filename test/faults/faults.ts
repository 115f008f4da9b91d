/**
 * `make faults`: everything that can break, broken. Every byte of a conversation, the storm, the load, a cluster's
 * primary.
 *
 * ```
 * node build/test/faults/faults.js [--only=bytes|verified|storm|load|cluster]… [--how=reset|fin|deaf]… [--minutes=N]
 *   [--at-once=N]
 * ```
 *
 * FAULTS_SEED repeats the order of the trials and the storm, SOAK_MS says how long the storm and the watch over the
 * memory go on. `--how` chooses among the faults of the bytes, `--minutes` bounds their trials; how many were left out
 * is said then. So many trials run `--at-once`; with a peer that went deaf most of them wait. The exit code tells
 * whether all is well.
 */
import { parseArgs } from 'node:util'
import { toConninfo } from '../support/address.js'
import { nameServer } from '../support/environment.js'
import { createDatabase } from '../support/database.js'
import { startCluster } from '../support/patroni/cluster.js'
import { findClusterPrograms } from '../support/patroni/programs.js'
import { startServer } from '../support/postgres.js'
import { Random } from '../support/random.js'
import { runCluster } from '../support/faults/cluster/run-cluster.js'
import { prepareGrounds } from '../support/faults/grounds.js'
import { Progress, duration, say } from '../support/faults/progress.js'
import { judgeLoad, runLoad } from '../support/faults/run-load.js'
import { managed } from '../support/faults/storm/managed.js'
import { pool } from '../support/faults/storm/pool.js'
import { postgresJs } from '../support/faults/storm/postgres-js.js'
import { runStorm, startStormServer, type StormResult } from '../support/faults/storm/storm.js'
import { planVerified, prepareVerified, tryVerified } from '../support/faults/verified.js'
import { FAULTS, measureLengths, planFaults, shuffle, sweep } from '../support/faults/sweep.js'

const SEED = Number(process.env['FAULTS_SEED'] || Math.floor(Math.random() * 2 ** 31))
const SOAK_MILLIS = Number(process.env['SOAK_MS'] || 60_000)
const TASKS = 64
const QUEUED = 100_000
/** Most of the time a trial waits. */
const AT_ONCE = '16'

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [] },
    how: { type: 'string', multiple: true, default: [...FAULTS] },
    minutes: { type: 'string', default: '60' },
    'at-once': { type: 'string', default: AT_ONCE },
  },
})

/** Sentences about what is wrong, and one that sums up. */
interface Part {
  readonly summary: string
  /** It could not be tried here; the summary says why. */
  readonly left?: true
  readonly wrong: readonly string[]
}

async function cutEverywhere(): Promise<Part> {
  await using grounds = await prepareGrounds()
  const lengths = await measureLengths(grounds, Number(AT_ONCE))
  say(`  the conversation: ${JSON.stringify(lengths)} bytes; deaf peers have ${grounds.patienceMillis} ms`)
  const planned = planFaults(lengths).filter(({ how }) => flags.how.includes(how))
  const faults = shuffle(planned, new Random(SEED))
  const start = performance.now()
  using progress = new Progress('every byte')
  let told = 0
  const tally = await sweep(grounds, faults, {
    atOnce: Number(flags['at-once']),
    wave: 500,
    deadline: start + Number(flags.minutes) * 60_000,
    onProgress: ({ trials, unknown, wrong }, all) => {
      // At once, because the rest may take an hour.
      for (const sentence of wrong.slice(told)) say(`✖ ${sentence}`)
      told = wrong.length
      progress.show(trials, all, `${unknown} unknown, ${wrong.length} wrong`)
    },
  })
  const { trials, notReached, confirmed, refused, unknown, longestMillis, wrong } = tally
  const left = faults.length - trials
  return {
    wrong,
    summary:
      `${trials} faults at ${faults.length / flags.how.length} byte positions in ${duration(performance.now() - start)}` +
      `${left > 0 ? `, ${left} left out` : ''} (${notReached} behind the end of the conversation): ${confirmed} rows ` +
      `confirmed, ${refused} refused, ${unknown} unknown; the longest call took ${Math.round(longestMillis)} ms`,
  }
}

async function storm(): Promise<Part> {
  await using server = await startStormServer()
  const results: StormResult[] = []
  for (const enter of [managed, pool, postgresJs]) {
    using progress = new Progress(`storm ${results.length + 1} of 3`)
    const result = await runStorm(server, enter, {
      ...{ seed: SEED, millis: SOAK_MILLIS, tasks: TASKS },
      onProgress: (share, figures) => progress.show(share * 100, 100, JSON.stringify(figures)),
    })
    results.push(result)
    const { wrong: _, blows, ...figures } = result
    say(`  ${JSON.stringify({ ...figures, blows: Object.fromEntries(blows) })}`)
  }
  const [own] = results as [StormResult]
  const faults = [...own.blows.values()].reduce((sum, times) => sum + times, 0)
  return {
    wrong: [
      ...own.wrong,
      ...(own.hung > 0 ? [`${own.hung} calls never settled`] : []),
      ...(own.uncaught > 0 ? [`${own.uncaught} exceptions were not caught`] : []),
    ],
    summary:
      `${faults} faults: ${own.confirmed} rows confirmed, ${own.refused} refused, ${own.unknown} unknown, ` +
      `${own.lost} lost, ${own.duplicated} duplicated, ${own.hung} hung`,
  }
}

async function load(): Promise<Part> {
  await using server = await startServer()
  nameServer()
  const conninfo = toConninfo(server, 'postgres')
  const figures = await runLoad({ conninfo, queued: QUEUED, millis: SOAK_MILLIS, seed: SEED })
  return { wrong: judgeLoad(figures), summary: JSON.stringify(figures) }
}

/** Every byte of transactions whose COMMIT is found out about. */
async function verified(): Promise<Part> {
  await using server = await startServer({ conf: ['max_connections = 300'] })
  await using database = await createDatabase({ login: server.tcp, template: 'template0' })
  await prepareVerified(database)
  const planned = await planVerified(database)
  const faults = shuffle(
    planned.filter(({ how }) => how === 'half open' || flags.how.includes(how)),
    new Random(SEED),
  )
  const start = performance.now()
  const deadline = start + Number(flags.minutes) * 60_000
  using progress = new Progress('every byte')
  const wrong: string[] = []
  let trials = 0
  let found = 0
  const tryNext = async (): Promise<void> => {
    for (
      let fault = faults.pop();
      fault !== undefined && performance.now() < deadline;
      fault = faults.pop()
    ) {
      const verdict = await tryVerified(database, fault)
      trials++
      found += verdict.verified
      for (const sentence of verdict.wrong) say(`✖ ${sentence}`)
      wrong.push(...verdict.wrong)
      progress.show(trials, planned.length, `${found} found out, ${wrong.length} wrong`)
    }
  }
  await Promise.all(Array.from({ length: Number(flags['at-once']) }, tryNext))
  const left = faults.length > 0 ? `, ${faults.length} left out` : ''
  return {
    wrong,
    summary: `${trials} faults in ${duration(performance.now() - start)}${left}: ${found} COMMITs were found out about`,
  }
}

async function cluster(): Promise<Part> {
  const programs = await findClusterPrograms()
  if ('missing' in programs) return { wrong: [], left: true, summary: `left out: ${programs.missing}` }
  say('  starting three servers under Patroni …')
  await using started = await startCluster(programs)
  nameServer()
  const result = await runCluster(started, {
    ...{ tasks: TASKS, millis: SOAK_MILLIS },
    onStruck: ({ what, from, to, promotedMillis, gapMillis, completeMillis }) =>
      say(
        `  ${what}: ${to} for ${from} after ${seconds(promotedMillis)}, nothing confirmed for ` +
          `${seconds(gapMillis)}, complete again after ${seconds(completeMillis)}`,
      ),
  })
  const { blows, confirmed, refused, unknown, stored, foundOut, longestGapMillis, wrong } = result
  return {
    wrong,
    summary:
      `${blows} primaries lost: ${confirmed} payments confirmed, ${refused} refused, ${unknown} unknown, ` +
      `${stored} stored; of ${foundOut.done + foundOut.notDone} COMMITs without an answer ${foundOut.done} were found ` +
      `to have been done; nothing was confirmed for ${seconds(longestGapMillis)} at most`,
  }
}

function seconds(millis: number): string {
  return `${(millis / 1_000).toFixed(1)} s`
}

const PARTS = { bytes: cutEverywhere, verified, storm, load, cluster }

async function main(): Promise<number> {
  say(`FAULTS_SEED=${SEED} SOAK_MS=${SOAK_MILLIS}`)
  let found = 0
  const leftOut: string[] = []
  for (const [name, run] of Object.entries(PARTS)) {
    if (flags.only.length > 0 && !flags.only.includes(name)) continue
    say(`\n== ${name}`)
    const { summary, wrong, left } = await run()
    if (left) leftOut.push(name)
    say(summary)
    for (const sentence of wrong.slice(0, 20)) say(`✖ ${sentence}`)
    found += wrong.length
  }
  say(verdict(found, leftOut))
  // Where nobody reads it, what was left out has to be noticed.
  return found === 0 && (leftOut.length === 0 || !process.env['CI']) ? 0 : 1
}

function verdict(found: number, leftOut: readonly string[]): string {
  if (found > 0) return `\n${found} things are wrong; FAULTS_SEED=${SEED} repeats it`
  return leftOut.length > 0 ? `\nnothing is wrong, but left out: ${leftOut.join(', ')}` : '\nall well'
}

// What the others leave hanging in the storm keeps the process alive.
process.exit(await main())
