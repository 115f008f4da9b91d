/**
 * The entry of the tests: finds or starts a server, makes the template of the test databases, and runs the test
 * files with node's own runner.
 *
 * ```
 * node build/test/run.js [--test-timeout=MS] [--test-name-pattern=REGEXP] [--concurrency=N] [FILE…]
 * ```
 *
 * A FILE is a test's source (`test/turn.test.ts`), what it was compiled to, or a part of its name (`turn`). The
 * server is the one that PGHOST, PGHOSTADDR or PGPORT name, otherwise one of our own.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createTemplate, dropDatabase } from './support/database.js'
import {
  nameServer,
  namesServer,
  serverOfEnvironment,
  TEMPLATE_VARIABLE,
  TIMEOUT_VARIABLE,
} from './support/environment.js'
import { startServer } from './support/postgres.js'

const HERE = dirname(fileURLToPath(import.meta.url))

// Node's own time-out holds for a file as a whole, too, so the one of a single test goes another way.
const FILE_MILLIS =
  600_000 + Number(process.env['STRESS_MS'] || 0) + Number(process.env['MODEL_SCHEDULES'] || 0) * 20

const { values: flags, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: {
    'test-timeout': { type: 'string' },
    'test-name-pattern': { type: 'string', multiple: true, default: [] },
    concurrency: { type: 'string', default: '2' },
  },
})

/** The compiled test files that the command line asks for, or all. */
async function chooseFiles(): Promise<string[]> {
  const names = await readdir(HERE, { recursive: true })
  const all = names.filter((name) => name.endsWith('.test.js')).sort()
  const chosen = wanted.length === 0 ? all : all.filter((name) => wanted.some((want) => isMeant(name, want)))
  for (const want of wanted) {
    if (!all.some((name) => isMeant(name, want))) throw new Error(`no test file is called ${want}`)
  }
  return chosen.map((name) => join(HERE, name))
}

function isMeant(name: string, want: string): boolean {
  const stem = want
    .replace(/\.[jt]s$/, '')
    .replace(/^.*(?:^|\/)test\//, '')
    .replace(/\.test$/, '')
  const own = name.replace(/\.test\.js$/, '')
  return want.includes('/') || want.includes('.') ? own === stem : own.includes(stem)
}

function runnerArguments(files: readonly string[]): string[] {
  const reporter = process.stdout.isTTY ? 'spec' : relativeModule('support/compact-reporter.js')
  const reporters = [`--test-reporter=${reporter}`, '--test-reporter-destination=stdout']
  // With a pattern, whatever does not match it counts as skipped.
  if (process.env['CI'] && flags['test-name-pattern'].length === 0) {
    reporters.push(
      `--test-reporter=${relativeModule('support/skip-reporter.js')}`,
      '--test-reporter-destination=stderr',
    )
  }
  return [
    '--test',
    '--trace-warnings',
    '--enable-source-maps',
    `--test-concurrency=${flags.concurrency}`,
    `--test-timeout=${FILE_MILLIS}`,
    ...flags['test-name-pattern'].map((pattern) => `--test-name-pattern=${pattern}`),
    ...reporters,
    ...files,
  ]
}

/** A path that node takes for a module and not for a package, whatever folder we are in. */
function relativeModule(name: string): string {
  return `./${relative(process.cwd(), join(HERE, name))}`
}

/** Runs the files and resolves with the runner's exit code. */
async function runFiles(files: readonly string[], template: string): Promise<number> {
  const timeout = flags['test-timeout'] === undefined ? {} : { [TIMEOUT_VARIABLE]: flags['test-timeout'] }
  const env = { ...process.env, ...timeout, [TEMPLATE_VARIABLE]: template }
  const runner = spawn(process.execPath, runnerArguments(files), { stdio: 'inherit', env })
  // Interrupted, the runner ends its files first; then we stop the server in order.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => runner.kill(signal))
  const [code] = (await once(runner, 'exit')) as [number | null]
  return code ?? 1
}

async function main(): Promise<number> {
  const files = await chooseFiles()
  if (process.env['PGSERVICE'] && !process.env['PGHOST']) {
    throw new Error('the tests do not read service files: name the server with PGHOST and PGPORT, too')
  }
  await using server = namesServer() ? null : await startServer()
  if (server !== null) nameServer(server.env)
  const login = serverOfEnvironment()
  const template = await createTemplate(login)
  try {
    return await runFiles(files, template)
  } finally {
    await dropDatabase(login, template)
  }
}

process.exitCode = await main()
