/** PgBouncer before a server, on a Unix socket in a temporary folder. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connectTo, type Login } from './address.js'
import { startGuard } from './guard.js'
import { preparePgBouncer, type Program } from './pgbouncer-program.js'
import { findServerUser, giveTo } from './server-user.js'
import { until } from './wait.js'

export type PoolMode = 'session' | 'transaction'

/** A running PgBouncer; its `host` is the folder of its socket. */
export class PgBouncer implements Login, AsyncDisposable {
  readonly port = 6432
  readonly user: string
  readonly host: string
  readonly #program: Program
  readonly #guard: ChildProcess
  #process: ChildProcess | null = null

  constructor(host: string, user: string, program: Program, guard: ChildProcess) {
    this.host = host
    this.user = user
    this.#program = program
    this.#guard = guard
  }

  async start(): Promise<void> {
    const { path, env } = this.#program
    const child = spawn(path, [join(this.host, 'pgbouncer.ini')], {
      ...(await findServerUser()),
      env,
      cwd: this.host,
      stdio: 'ignore',
    })
    this.#process = child
    await until(() => this.#answers(), { what: 'PgBouncer to listen' })
    child.unref()
  }

  #answers(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connectTo(this)
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
  }

  /** Ends it at once, as a crash would. */
  async kill(): Promise<void> {
    const child = this.#process
    if (child === null) return
    this.#process = null
    child.ref()
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
    await rm(join(this.host, `.s.PGSQL.${this.port}`), { force: true })
    await rm(join(this.host, 'pgbouncer.pid'), { force: true })
  }

  log(): Promise<string> {
    return readFile(join(this.host, 'log'), 'utf8')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await rm(this.host, { recursive: true, force: true })
    this.#guard.kill('SIGKILL')
  }
}

/** Starts one before the server of `login`. */
export async function startPgBouncer(
  login: Login,
  mode: PoolMode,
  lines: readonly string[] = [],
): Promise<PgBouncer> {
  const folder = await mkdtemp('/tmp/pgb-')
  const guard = startGuard(folder)
  const user = await findServerUser()
  const bouncer = new PgBouncer(folder, login.user, await preparePgBouncer(user, folder), guard)
  const ini = [
    '[databases]',
    `* = host=${login.host} port=${login.port}`,
    '[pgbouncer]',
    'listen_addr =',
    `listen_port = ${bouncer.port}`,
    `unix_socket_dir = ${folder}`,
    'auth_type = any',
    `pool_mode = ${mode}`,
    'default_pool_size = 4',
    `logfile = ${join(folder, 'log')}`,
    `pidfile = ${join(folder, 'pgbouncer.pid')}`,
    ...lines,
  ]
  const path = join(folder, 'pgbouncer.ini')
  await writeFile(path, `${ini.join('\n')}\n`.replace('* = host', `* = user=${login.user} host`))
  for (const place of [folder, path]) await giveTo(user, place)
  await bouncer.start()
  return bouncer
}
