/** Runs the tests on Bun or Deno: each file by the runtime's own runner, after a program that says what must work. */
import { execFile } from 'node:child_process'
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { pathOf } from '../../test/support/root.js'
import { createTemplate, dropDatabase } from '../../test/support/database.js'
import { TEMPLATE_VARIABLE } from '../../test/support/environment.js'
import { LEFT_OUT_VARIABLE } from '../../test/support/left-out.js'
import { startServer } from '../../test/support/postgres.js'
import type { TestRecord } from '../../test/support/record-reporter.js'
import type { Cell } from '../cells.js'
import { logFile } from '../place.js'
import { readJUnit } from './junit.js'
import { filesLeftOut, testsLeftOut, type Elsewhere } from './left-out.js'

/** As for Node: some tests wait for half a minute. */
const FILE_MILLIS = 600_000

/** The arguments of a runner for one file, whose report is to go to another. */
const RUNNERS: Readonly<Record<Elsewhere, (file: string, report: string) => string[]>> = {
  bun: (file, report) => [
    'test',
    '--timeout=60000',
    '--reporter=junit',
    `--reporter-outfile=${report}`,
    file,
  ],
  deno: (file, report) => ['test', '--allow-all', '--no-check', `--junit-path=${report}`, file],
}

const PROGRAM_RUNNERS: Readonly<Record<Elsewhere, readonly string[]>> = {
  bun: ['run'],
  deno: ['run', '--allow-all'],
}

export interface ElsewhereOrder {
  readonly tests: readonly string[]
  readonly signal: AbortSignal
}

/** Resolves with an exit code. What failed is in the cell's file of records. */
export async function runElsewhere(
  cell: Cell,
  { tests, signal }: ElsewhereOrder,
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const kind = cell.kind as Elsewhere
  await using server = await startServer()
  const template = await createTemplate(server)
  const list = pathOf(`build/matrix-logs/${cell.name}-left-out.json`)
  const reasons = testsLeftOut(kind)
  writeFileSync(list, JSON.stringify(reasons))
  rmSync(logFile(cell.name, 'txt'), { force: true })
  const env = {
    ...environment,
    ...server.env,
    NO_COLOR: '1',
    [TEMPLATE_VARIABLE]: template,
    [LEFT_OUT_VARIABLE]: list,
  }
  const here: Here = { cell, kind, env, signal, reasons: new Map(Object.entries(reasons)) }
  await runSmoke(here)
  for (const file of chooseFiles(tests)) {
    if (signal.aborted) break
    const reason = filesLeftOut(kind, file)
    if (reason === null) await runFile(here, file)
    else record(here, [{ name: file, outcome: 'skipped', reason }])
  }
  await dropDatabase(server, template)
  return signal.aborted ? 1 : 0
}

interface Here {
  readonly cell: Cell
  readonly kind: Elsewhere
  readonly env: NodeJS.ProcessEnv
  readonly signal: AbortSignal
  readonly reasons: ReadonlyMap<string, string>
}

/** Files of tests, such as `promises/use`; a choice of them by what is in the name. */
function chooseFiles(tests: readonly string[]): string[] {
  const names = readdirSync(pathOf('build/test'), { recursive: true, encoding: 'utf8' })
  return names
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => name.replace(/\.test\.js$/, ''))
    .filter((name) => tests.length === 0 || tests.some((test) => name.includes(test)))
    .sort()
}

/** The program says what became of its steps, each on a line. */
async function runSmoke(here: Here): Promise<void> {
  const args = [...PROGRAM_RUNNERS[here.kind], pathOf('build/matrix/elsewhere/smoke.js')]
  const { code, stdout } = await runProgram(here, 'smoke', args)
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'))
  const records = lines.map((line) => JSON.parse(line) as TestRecord)
  if (code !== 0 && records.every(({ outcome }) => outcome !== 'failed')) records.push(ended('smoke', code))
  record(here, records)
}

async function runFile(here: Here, file: string): Promise<void> {
  const report = pathOf(`build/matrix-logs/${here.cell.name}.xml`)
  rmSync(report, { force: true })
  const { code } = await runProgram(
    here,
    file,
    RUNNERS[here.kind](pathOf(`build/test/${file}.test.js`), report),
  )
  const records = existsSync(report) ? readJUnit(readFileSync(report, 'utf8'), here.reasons) : []
  if (code !== 0 && records.every(({ outcome }) => outcome !== 'failed')) records.push(ended(file, code))
  record(
    here,
    records.map((each) => ({
      ...each,
      name: each.outcome === 'failed' ? `${file}: ${each.name}` : each.name,
    })),
  )
}

function ended(file: string, code: number | string): TestRecord {
  return { name: `${file}: the runner ended with ${code}`, outcome: 'failed' }
}

/** Runs it to its end, or until its time is over; what it says goes to the cell's log. */
function runProgram(
  { cell, env, signal }: Here,
  title: string,
  args: readonly string[],
): Promise<{ code: number | string; stdout: string }> {
  const options = {
    env,
    cwd: pathOf(),
    timeout: FILE_MILLIS,
    killSignal: 'SIGKILL',
    maxBuffer: 2 ** 28,
    signal,
  } as const
  return new Promise((resolve) => {
    execFile(cell.program!, args, options, (error, stdout, stderr) => {
      appendFileSync(logFile(cell.name, 'txt'), `== ${title}\n${stdout}${stderr}\n`)
      resolve({ code: error === null ? 0 : (error.code ?? error.signal ?? 1), stdout })
    })
  })
}

function record({ cell }: Here, records: readonly TestRecord[]): void {
  const lines = records.map((each) => `${JSON.stringify(each)}\n`)
  appendFileSync(logFile(cell.name, 'jsonl'), lines.join(''))
}
