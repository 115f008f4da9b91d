/** Kills workers at random moments while all are at work, and looks at what they leave behind. */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { ManagedConnection } from 'pg-managed-connection'
import { share } from 'pg-managed-connection/worker'
import { collectGarbage } from '../collect-garbage.js'
import { Random } from '../random.js'
import { until, within } from '../wait.js'
import { ENDS, FATES, type KillData } from './kill-load.js'
import type { TestDatabase } from '../database.js'

export interface KillOptions {
  readonly kills: number
  readonly seed: number
  /** Told after each kill. */
  progress?(kills: number): void
}

export interface KillReport {
  readonly kills: number
  /** How many of each kind of end. */
  readonly ends: Readonly<Record<string, number>>
  readonly stored: number
  readonly gone: number
  readonly unknown: number
  /** Where the table disagrees with what a worker knew, a sentence each. */
  readonly wrong: readonly string[]
  /** Bytes of heap after a collection, in the course of the run. */
  readonly heap: readonly number[]
  /** The longest time that the owner's thread waited for its turn behind a killed worker, in milliseconds. */
  readonly longestWaitMillis: number
}

const WORKERS = 3
const TASKS = 6
const ROWS = 4_000
const HEAP_SAMPLES = 20
/** Nobody may wait longer than this, on however busy a machine. */
const PATIENCE_MILLIS = 20_000

interface Victim {
  readonly worker: Worker
  readonly exited: Promise<void>
  readonly base: number
  readonly fates: Int32Array
}

/** Runs in a database of its own. Throws when something hangs. */
export async function killWorkers(database: TestDatabase, options: KillOptions): Promise<KillReport> {
  await database.admin.query('CREATE TABLE killed (row int, half int, UNIQUE (row, half))')
  const manager = new ManagedConnection(database.conninfo, { acquireTimeoutMillis: PATIENCE_MILLIS })
  // Nonsense on a port is an event.
  manager.on('error', () => {})
  const run = new Run(database, manager, options)
  try {
    return await run.finish()
  } finally {
    await run.stop()
    await manager.end({ timeoutMillis: 5_000 })
  }
}

class Run {
  readonly #database: TestDatabase
  readonly #manager: ManagedConnection
  readonly #options: KillOptions
  readonly #random: Random
  readonly #victims: Victim[] = []
  readonly #counts = { stored: 0, gone: 0, unknown: 0 }
  readonly #ends: Record<string, number> = {}
  readonly #wrong: string[] = []
  readonly #heap: number[] = []
  #longestWaitMillis = 0
  #base = 1

  constructor(database: TestDatabase, manager: ManagedConnection, options: KillOptions) {
    this.#database = database
    this.#manager = manager
    this.#options = options
    this.#random = new Random(options.seed)
  }

  async finish(): Promise<KillReport> {
    const { kills, progress } = this.#options
    const every = Math.max(1, Math.floor(kills / HEAP_SAMPLES))
    for (let n = 1; n <= kills; n++) {
      while (this.#victims.length < WORKERS) this.#victims.push(await this.#start())
      await sleep(this.#random.below(25))
      await this.#kill(this.#victims.splice(this.#random.below(WORKERS), 1)[0]!)
      if (n % every === 0) this.#heap.push(heapAfterCollection())
      progress?.(n)
    }
    return {
      kills,
      ends: this.#ends,
      ...this.#counts,
      wrong: this.#wrong,
      heap: this.#heap,
      longestWaitMillis: Math.round(this.#longestWaitMillis),
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#victims.map(({ worker }) => worker.terminate()))
  }

  async #start(): Promise<Victim> {
    const port = share(this.#manager)
    const fates = new Int32Array(new SharedArrayBuffer(4 * ROWS))
    const base = this.#base
    this.#base += ROWS
    const workerData: KillData = { port, base, fates, tasks: TASKS, seed: this.#random.below(2 ** 31) }
    const worker = new Worker(new URL('kill-load.js', import.meta.url), {
      workerData,
      transferList: [port],
      stderr: true,
    })
    // Some are told to throw.
    worker.on('error', () => {})
    const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
    await within(once(worker, 'message'), 'a worker to begin', PATIENCE_MILLIS)
    return { worker, exited, base, fates }
  }

  async #kill(victim: Victim): Promise<void> {
    const how = this.#random.pick(ENDS)
    this.#ends[how] = (this.#ends[how] ?? 0) + 1
    victim.worker.postMessage(how)
    if (how === 'terminate') await victim.worker.terminate()
    else if (how === 'exit' || how === 'throw') await within(victim.exited, 'a worker to exit')
    else await sleep(this.#random.below(20))
    const before = performance.now()
    await within(this.#manager.query('SELECT 1'), `a turn behind a worker's ${how}`, PATIENCE_MILLIS)
    this.#longestWaitMillis = Math.max(this.#longestWaitMillis, performance.now() - before)
    await victim.worker.terminate()
    await this.#audit(victim, how)
  }

  /** Waits until the owner has nothing left of the worker, and compares the table with what the worker knew. */
  async #audit({ base, fates }: Victim, how: string): Promise<void> {
    const stored = await until(() => this.#settledRows(base), {
      what: 'the rows to settle',
      timeoutMillis: PATIENCE_MILLIS,
    })
    for (let row = 0; row < fates.length; row++) {
      const fate = FATES[Atomics.load(fates, row)]!
      if (fate === 'unused') break
      const halves = stored.get(base + row) ?? 0
      this.#counts[fate]++
      const right = fate === 'stored' ? halves === 2 : fate === 'gone' ? halves === 0 : halves !== 1
      if (!right)
        this.#wrong.push(`row ${base + row} is ${fate}, but ${halves} of its halves are stored (${how})`)
    }
    await this.#database.admin.query('DELETE FROM killed WHERE row >= $1 AND row < $2', [base, base + ROWS])
  }

  /** How many halves of each row are stored; by the manager's own line, so behind whatever the worker had sent. */
  async #settledRows(base: number): Promise<Map<number, number>> {
    const { rows } = await this.#manager.query<{ row: number; halves: number }>(
      'SELECT row, count(*)::int AS halves FROM killed WHERE row >= $1 AND row < $2 GROUP BY row',
      [base, base + ROWS],
    )
    return new Map(rows.map(({ row, halves }) => [row, halves]))
  }
}

function heapAfterCollection(): number {
  collectGarbage()
  collectGarbage()
  return process.memoryUsage().heapUsed
}
