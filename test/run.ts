/**
 * The entry of the tests: finds or starts a server, makes the template of the test databases, and runs the test
 * files with node's own runner.
 *
 * ```
 * node build/test/run.js [--test-timeout=MS] [--test-name-pattern=REGEXP] [--concurrency=N] [--watch] [--record=FILE]
 *   [FILE…]
 * ```
 *
 * A FILE is a test's source (`test/promises/use.test.ts`), what it was compiled to, a folder (`pure`), or a part of a
 * file's name (`use`). The server is the one that PGHOST, PGHOSTADDR or PGPORT name, otherwise one of our own; where
 * only tests of `pure` are chosen, there is none. With `--watch` the server stays, and the files run again each time
 * that something has been compiled. With `--record` a line of JSON for each test is written to a file.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
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
import { watchCompiled } from './support/watch-compiled.js'

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
    watch: { type: 'boolean', default: false },
    record: { type: 'string' },
  },
})

/** The compiled test files that the command line asks for, or all, from here. */
async function chooseFiles(): Promise<string[]> {
  const names = await readdir(HERE, { recursive: true })
  const all = names.filter((name) => name.endsWith('.test.js')).sort()
  if (wanted.length === 0) return all
  const chosen = wanted.map((want) => filesMeant(all, want))
  return all.filter((name) => chosen.some((files) => files.includes(name)))
}

/** A path means one file or what is in a folder; a word means a folder of that name, else what has it in its name. */
function filesMeant(all: readonly string[], want: string): string[] {
  const stem = want.replace(/^.*?(?:^|\/)test\//, '').replace(/(?:\.test)?\.[jt]s$|\/$/, '')
  const isPath = want.includes('/') || want.includes('.')
  const files = isPath
    ? all.filter((name) => name === `${stem}.test.js` || name.startsWith(`${stem}/`))
    : all.filter((name) => dirname(name).split('/').includes(stem))
  if (files.length > 0) return files
  const named = isPath ? [] : all.filter((name) => basename(name, '.test.js').includes(stem))
  if (named.length === 0) throw new Error(`no test file is called ${want}`)
  return named
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
  if (flags.record !== undefined) {
    reporters.push(
      `--test-reporter=${relativeModule('support/record-reporter.js')}`,
      `--test-reporter-destination=${flags.record}`,
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
    ...files.map((name) => join(HERE, name)),
  ]
}

/** A path that node takes for a module and not for a package, whatever folder we are in. */
function relativeModule(name: string): string {
  return `./${relative(process.cwd(), join(HERE, name))}`
}

/** Runs the files and resolves with the runner's exit code. */
async function runFiles(files: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const runner = spawn(process.execPath, runnerArguments(files), { stdio: 'inherit', env })
  // Interrupted, the runner ends its files first; then we stop the server in order.
  const end = (): void => void runner.kill()
  interruption.addEventListener('abort', end)
  const [code] = (await once(runner, 'exit')) as [number | null]
  interruption.removeEventListener('abort', end)
  return code ?? 1
}

/** Runs the files, with `--watch` until somebody interrupts it. */
async function runAll(
  files: readonly string[],
  variables: Readonly<Record<string, string>>,
): Promise<number> {
  const timeout = flags['test-timeout'] === undefined ? {} : { [TIMEOUT_VARIABLE]: flags['test-timeout'] }
  const env = { ...process.env, ...timeout, ...variables }
  if (!flags.watch) return runFiles(files, env)
  using watch = watchCompiled()
  for (;;) {
    watch.forget()
    const code = await runFiles(files, env)
    if (!interruption.aborted) process.stdout.write('waiting for changes\n')
    if (!(await watch.changed(interruption))) return code
  }
}

const interrupter = new AbortController()
const interruption = interrupter.signal

async function main(): Promise<number> {
  const files = await chooseFiles()
  if (files.every((name) => dirname(name) === 'pure')) return runAll(files, {})
  if (process.env['PGSERVICE'] && !process.env['PGHOST']) {
    throw new Error('the tests do not read service files: name the server with PGHOST and PGPORT, too')
  }
  await using server = namesServer() ? null : await startServer()
  if (server !== null) nameServer(server.env)
  const login = serverOfEnvironment()
  const template = await createTemplate(login)
  try {
    return await runAll(files, { [TEMPLATE_VARIABLE]: template })
  } finally {
    await dropDatabase(login, template)
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupter.abort())
process.exitCode = await main()
