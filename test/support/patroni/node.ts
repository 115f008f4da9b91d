/** One node: a Patroni and its server. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ServerUser } from '../server-user.js'
import { launch } from './launch.js'
import { killAll, processesAt, sendSignal, signalAll } from './processes.js'
import type { ClusterPrograms } from './programs.js'
import type { Place } from './settings.js'

export class ClusterNode implements Place {
  readonly name: string
  readonly folder: string
  readonly port: number
  readonly restPort: number
  readonly #programs: ClusterPrograms
  readonly #user: ServerUser | undefined

  constructor(
    { name, folder, port, restPort }: Place,
    programs: ClusterPrograms,
    user: ServerUser | undefined,
  ) {
    this.name = name
    this.folder = folder
    this.port = port
    this.restPort = restPort
    this.#programs = programs
    this.#user = user
  }

  /** Starts Patroni, which starts the server, or takes over one that runs. */
  async start(settings?: string): Promise<void> {
    const file = join(this.folder, 'patroni.yml')
    if (settings !== undefined) await writeFile(file, settings)
    const { patroni: program, env } = this.#programs
    await launch({ program, args: [file], folder: this.folder, user: this.#user, env })
  }

  /** Kills the postmaster; its backends notice that and end. Patroni stays. */
  async killServer(): Promise<void> {
    const [pid] = (await readFile(join(this.folder, 'data', 'postmaster.pid'), 'utf8')).split('\n')
    sendSignal(Number(pid), 'SIGKILL')
  }

  /** Kills all there is of the node. */
  kill(): Promise<void> {
    return killAll(this.folder)
  }

  /** Stops all there is of the node in the middle of whatever it does: it answers nothing and closes nothing. */
  freeze(): Promise<void> {
    return signalAll(this.folder, 'SIGSTOP')
  }

  /** Stops Patroni only. Its server goes on, and works in a folder below. */
  async freezePatroni(): Promise<void> {
    for (const pid of await processesAt(this.folder)) sendSignal(pid, 'SIGSTOP')
  }

  /** Lets it go on where it was. */
  thaw(): Promise<void> {
    return signalAll(this.folder, 'SIGCONT')
  }

  /** The end of what Patroni and the server have written. */
  async lastWords(lines = 20): Promise<string> {
    const log = await readFile(join(this.folder, 'log'), 'utf8').catch(() => '')
    return `-- ${this.name}\n${log.trimEnd().split('\n').slice(-lines).join('\n')}`
  }
}
