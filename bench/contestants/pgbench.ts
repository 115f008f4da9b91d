/** `pgbench -c1 -M prepared`: PostgreSQL's own benchmark, in C on libpq. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { pgbenchProgram } from '../pgbench-program.js'
import { configOf, type Place } from '../place.js'
import type { Work } from '../work.js'
import type { Contestant, Entrant } from './contestant.js'

const run = promisify(execFile)

/** How many transactions go out together where it pipelines. */
const PIPELINED = 50
const FIRST_RUNS = 100

/** BEGIN, the statements, COMMIT: each is answered before the next is sent. */
export const pgbenchTransaction: Contestant = ({ place, work }) => open(place, transactionOf(work), 1)

/** The same, but 50 of them are sent before the first is answered. */
export const pgbenchPipeline: Contestant = ({ place, work }) => {
  const transactions = transactionOf(work).repeat(PIPELINED)
  return open(place, `\\startpipeline\n${transactions}\\endpipeline\n`, PIPELINED)
}

/** The parameter is a variable of pgbench; prepared, it travels as a parameter, too. */
function transactionOf({ text, statements }: Work): string {
  return `BEGIN;\n${`${text.replace('$1', ':n')};\n`.repeat(statements)}COMMIT;\n`
}

async function open(place: Place, script: string, perRun: number): Promise<Entrant> {
  const program = await pgbenchProgram()
  if (program === null) throw new Error('pgbench was not found')
  const folder = await mkdtemp(join(tmpdir(), 'bench-'))
  const file = join(folder, 'script.sql')
  await writeFile(file, script)
  const times = (runs: number): Promise<number> => runScript(program.path, place, file, Math.max(1, runs))
  let perSecond = 0
  return {
    run: async (millis) => {
      perSecond ||= await times(FIRST_RUNS)
      perSecond = await times(Math.ceil((perSecond * millis) / 1_000))
      return perSecond * perRun
    },
    attempt: async (count) => void (await times(count / perRun)),
    close: () => rm(folder, { recursive: true }),
  }
}

/** Runs the script so many times on one connection. Returns runs per second, connecting left out. */
async function runScript(program: string, place: Place, file: string, times: number): Promise<number> {
  const { host, port, user, password, database } = configOf(place)
  const login = {
    PGHOST: host,
    PGPORT: String(port),
    PGUSER: user,
    ...(password && { PGPASSWORD: password }),
  }
  const args = ['-n', '-c1', '-j1', '-Mprepared', '-Dn=7', `-t${times}`, `-f${file}`, database]
  const { stdout } = await run(program, args, { env: { ...process.env, ...login, LC_ALL: 'C' } })
  const processed = /^number of transactions actually processed: (\d+)\/(\d+)/m.exec(stdout)
  const tps = /^tps = ([\d.]+)/m.exec(stdout)
  if (tps === null || processed?.[1] !== String(times)) throw new Error(`pgbench did not finish:\n${stdout}`)
  return Number(tps[1])
}
