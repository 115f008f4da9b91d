/** Processes that want to lead the same name, and what they tell. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { until } from '../wait.js'
import type { Admin } from '../admin.js'

export interface ContenderOptions {
  readonly who: string
  readonly name: string
  /** The connection by which it leads, and the one by which it writes. */
  readonly leads: string
  readonly stores: string
  readonly heartbeatMillis: number
  readonly retryMillis: number
}

/** What a contender tells. */
export interface Word {
  readonly event: 'leads' | 'lost'
  readonly who: string
  readonly epoch: string
  /** By the clock of the machine, in milliseconds. */
  readonly at: number
  /** The server process of the connection by which it leads. */
  readonly pid: number | null
}

const PROGRAM = fileURLToPath(new URL('contender.js', import.meta.url))

export class Fleet implements AsyncDisposable {
  readonly words: Word[] = []
  readonly #processes = new Map<string, ChildProcess>()
  readonly #options: Omit<ContenderOptions, 'who'>

  constructor(options: Omit<ContenderOptions, 'who'>) {
    this.#options = options
  }

  start(who: string, options: Partial<ContenderOptions> = {}): void {
    const given = JSON.stringify({ ...this.#options, ...options, who } satisfies ContenderOptions)
    const child = spawn(process.execPath, [PROGRAM, given], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#processes.set(who, child)
    createInterface(child.stdout!).on('line', (line) => {
      this.words.push({ ...(JSON.parse(line) as Omit<Word, 'who'>), who })
    })
  }

  /** The next one to lead that has told it after so many words. */
  async leader(after = 0): Promise<Word> {
    return until(() => this.words.slice(after).find(({ event }) => event === 'leads'), {
      what: 'somebody to lead',
      timeoutMillis: 30_000,
    })
  }

  signal(who: string, signal: NodeJS.Signals): void {
    // Not by child.kill(), which sends but one signal in Deno.
    process.kill(this.#processes.get(who)!.pid!, signal)
  }

  async kill(who: string): Promise<void> {
    const child = this.#processes.get(who)!
    this.#processes.delete(who)
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    process.kill(child.pid!, 'SIGKILL')
    await exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#processes.keys()].map((who) => this.kill(who)))
  }
}

interface Write {
  readonly who: string
  readonly epoch: string
  /** Its place among those that were accepted; null where it was refused. */
  readonly n: number | null
}

/** The table that they write to, and the fence before it. */
export async function buildFence(admin: Admin): Promise<void> {
  await admin.query('DROP TABLE IF EXISTS fence, writes')
  await admin.query('CREATE TABLE fence (epoch numeric, who text, n int)')
  await admin.query("INSERT INTO fence VALUES (0, 'nobody', 0)")
  await admin.query('CREATE TABLE writes (who text, epoch numeric, n int)')
}

/** All that they have tried to write: first what was accepted, in order. */
export async function writesOf(admin: Admin): Promise<Write[]> {
  return admin.rows<Write & Record<string, unknown>>('SELECT who, epoch::text, n FROM writes ORDER BY n')
}

/** Who was refused how often, under which epoch. One that hears that it leads no more is refused in that moment only. */
export function refusalsOf(writes: readonly Write[]): Map<string, number> {
  const refusals = new Map<string, number>()
  for (const { who, epoch } of writes.filter(({ n }) => n === null)) {
    const key = `${who} under ${epoch}`
    refusals.set(key, (refusals.get(key) ?? 0) + 1)
  }
  return refusals
}

/** What is wrong with the epochs of what was accepted, a sentence each. */
export function faultsOf(writes: readonly Write[], words: readonly Word[]): string[] {
  const faults: string[] = []
  let highest = 0n
  const owners = new Map<string, string>()
  const claim = (epoch: string, who: string, what: string): void => {
    const owner = owners.get(epoch) ?? who
    if (owner !== who) faults.push(`${who} ${what} under the epoch ${epoch} of ${owner}`)
    owners.set(epoch, owner)
  }
  for (const { epoch, who } of words) claim(epoch, who, 'leads')
  for (const { epoch, who, n } of writes) {
    claim(epoch, who, 'writes')
    if (n === null) continue
    if (BigInt(epoch) < highest) faults.push(`write ${n} of ${who} is older than the one before`)
    highest = BigInt(epoch)
  }
  const led = words.filter(({ event }) => event === 'leads').map(({ epoch }) => epoch)
  if (new Set(led).size !== led.length) faults.push('an epoch was given twice')
  return faults
}
