import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { WriteStream } from 'node:tty'
import { parseArgs } from 'node:util'
import { check } from './check.js'
import { makePalette, printReport, wantsColor } from './print.js'
import { Progress } from './progress.js'
import type { Report } from './report.js'

/** 0: it works. 1: it does not. 2: the command was not understood. */
type ExitCode = 0 | 1 | 2

/** What the command has to do with the process it runs in. */
export interface Surroundings {
  readonly env: NodeJS.ProcessEnv
  readonly stdout: Partial<WriteStream> & { write(text: string): unknown }
  readonly stderr: Partial<WriteStream> & { write(text: string): unknown }
}

const USAGE = `usage: pg-managed-connection check [CONNINFO] [--all] [--json] [--no-color]

Connects to a PostgreSQL server, says with which parameters and what came of it, and what to do if it does not work.

CONNINFO is one argument: a URI (postgresql://user@host/dbname) or a list in quotes ("host=… dbname=…"). What it leaves
out, or everything without it, comes from the service file, the environment (PGHOST…), the password file and defaults.

  --all       list the parameters that are at their defaults, too
  --json      print one JSON document
  --no-color  print without colours; so does the environment variable NO_COLOR
  --help      print this
  --version   print the version

exit status: 0 if the connection works, 1 if it does not, 2 if the command was not understood
`

/** Runs the command. An argument may hold a password, so none is quoted. */
export async function run(args: readonly string[], { env, stdout, stderr }: Surroundings): Promise<ExitCode> {
  const refuse = (why: string): ExitCode => {
    stderr.write(`pg-managed-connection: ${why}\n\n${USAGE}`)
    return 2
  }
  const answer = (text: string): ExitCode => {
    stdout.write(text)
    return 0
  }
  const parsed = parse(args)
  if (parsed === null) return refuse('there is an option that is not known, or has a value')
  const { values, positionals } = parsed
  if (values.help) return answer(USAGE)
  if (values.version) return answer(`${readVersion()}\n`)
  const [command, conninfo, ...more] = positionals
  if (command === undefined) return refuse('what to do? There is one command, check')
  if (command !== 'check') return refuse('the only command is check')
  if (more.length > 0) return refuse('the connection string must be one argument; put it in quotes')
  const report = await checkWithProgress(conninfo, env, stderr)
  const palette = makePalette(!values['no-color'] && wantsColor(stdout, env))
  const look = { palette, width: Math.max(stdout.columns ?? WIDTH, NARROWEST), all: values.all }
  stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : printReport(report, look))
  return report.ok ? 0 : 1
}

/** Columns, where the terminal does not say; and below which nothing can be read any more. */
const WIDTH = 80
const NARROWEST = 40

async function checkWithProgress(
  conninfo: string | undefined,
  env: NodeJS.ProcessEnv,
  stderr: Surroundings['stderr'],
): Promise<Report> {
  const progress = new Progress(stderr)
  progress.start()
  try {
    return await check(conninfo, env, progress.onStep)
  } finally {
    progress.stop()
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        all: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        'no-color': { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
        version: { type: 'boolean', default: false },
      },
    })
  } catch {
    return null
  }
}

function readVersion(): string {
  const text = readFileSync(join(__dirname, '../../package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
