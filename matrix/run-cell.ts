/** Runs a cell from its versions to its counts. */
import { createWriteStream, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { FOLDER_VARIABLE } from '../test/support/binaries.js'
import { nameServer } from '../test/support/environment.js'
import type { TestRecord } from '../test/support/record-reporter.js'
import { pathOf } from '../test/support/root.js'
import type { Cell } from './cells.js'
import { plantTree } from './driver-tree.js'
import { runElsewhere } from './elsewhere/run.js'
import { logFile } from './place.js'
import { Progress } from './progress.js'
import { countOutcomes, type CellResult } from './results.js'
import { describe, seeVersions } from './versions.js'

export interface Order {
  readonly tests: readonly string[]
  /** How many tests the cell had the last time. */
  readonly expected: number | null
  /** "[3/12] ". */
  readonly position: string
  readonly signal: AbortSignal
}

export interface CellOutcome extends CellResult {
  /** The names of the tests that failed. */
  readonly failures: readonly string[]
}

export async function runCell(cell: Cell, order: Order): Promise<CellOutcome> {
  const { name } = cell
  const versions = await seeVersions(cell)
  const records = logFile(name, 'jsonl')
  mkdirSync(dirname(records), { recursive: true })
  rmSync(records, { force: true })
  using progress = new Progress(`${order.position}${name}: ${describe(versions)}`, records, order.expected)
  const code = await (cell.kind === 'node'
    ? runOnNode(cell, order)
    : runElsewhere(cell, order, environmentOf(cell)))
  const found = readRecords(records)
  const failed = found.filter(({ outcome }) => outcome === 'failed')
  // The runner itself may fail: before the first test, say.
  if (code !== 0 && failed.length === 0)
    found.push({ name: `the runner ended with ${code}`, outcome: 'failed' })
  const failures = found.filter(({ outcome }) => outcome === 'failed').map((record) => record.name)
  const date = new Date().toISOString().slice(0, 10)
  return { name, versions, date, seconds: progress.seconds, ...countOutcomes(found), failures }
}

async function runOnNode(cell: Cell, order: Order): Promise<number> {
  await using tree = cell.driver === undefined ? null : await plantTree(cell.name, cell.driver)
  const folder = tree?.folder ?? pathOf()
  const tests = order.tests.length > 0 ? order.tests : (cell.folders ?? [])
  const args = [join(folder, 'build/test/run.js'), `--record=${logFile(cell.name, 'jsonl')}`, ...tests]
  const { signal } = order
  const log = createWriteStream(logFile(cell.name, 'txt'))
  const runner = spawn(cell.program!, args, {
    cwd: folder,
    env: environmentOf(cell),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  runner.stdout.pipe(log, { end: false })
  runner.stderr.pipe(log, { end: false })
  // Not killed by the signal itself: the runner stops its server first.
  const end = (): void => void runner.kill()
  signal.addEventListener('abort', end)
  const [code] = (await once(runner, 'close')) as [number | null]
  signal.removeEventListener('abort', end)
  log.end()
  return code ?? 1
}

/** Our own environment, without what would choose another server, or would make a skip fail. */
function environmentOf({ program, postgres }: Cell): NodeJS.ProcessEnv {
  const { CI: _, ...env } = process.env
  nameServer({}, env)
  if (postgres) env[FOLDER_VARIABLE] = postgres
  // What a test starts by the name of `node`, npm among it, is to be the same one.
  env['PATH'] = [dirname(program!), env['PATH']].join(':')
  return env
}

function readRecords(file: string): TestRecord[] {
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as TestRecord)
}
