/** Many tasks store rows while the storm rages; at the end what each was told is compared with what is stored. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Admin } from '../../admin.js'
import { Ledger } from '../../ledger.js'
import { startServer, type PostgresServer } from '../../postgres.js'
import { startProxy } from '../../proxy.js'
import { Random } from '../../random.js'
import { until } from '../../wait.js'
import { DATABASE, type Contestant, type Enter } from './contestant.js'
import { rage } from './weather.js'

export interface StormOptions {
  readonly seed: number
  readonly millis: number
  readonly tasks: number
  /** Told now and then how far it has come. */
  readonly onProgress?: (
    share: number,
    figures: { confirmed: number; refused: number; unknown: number },
  ) => void
}

export interface StormResult {
  readonly name: string
  readonly blows: ReadonlyMap<string, number>
  readonly confirmed: number
  readonly refused: number
  readonly unknown: number
  /** Told "stored", and not there. */
  readonly lost: number
  /** There more than once. */
  readonly duplicated: number
  /** Told "not stored", and there all the same. */
  readonly surprising: number
  /** Calls that had not settled long after the storm. */
  readonly hung: number
  /** Exceptions that nobody could catch: without a handler each ends the process. */
  readonly uncaught: number
  /** What is wrong, a sentence each. */
  readonly wrong: readonly string[]
}

const USER = 'storm'

/** How long after the storm a call may still take; the limits of the contestants are shorter. */
const SETTLE_MILLIS = 40_000

/** A server with few places, for one storm after the other. */
export async function startStormServer(): Promise<PostgresServer> {
  const server = await startServer({
    conf: ['max_connections = 8', 'autovacuum = off', 'log_min_messages = fatal'],
  })
  await using admin = new Admin(server, DATABASE)
  await admin.query(`CREATE ROLE ${USER} LOGIN; CREATE TABLE stored (id int); GRANT ALL ON stored TO ${USER}`)
  return server
}

/** One storm over one contestant. The same seed brings the same blows in the same order. */
export async function runStorm(
  server: PostgresServer,
  enter: Enter,
  options: StormOptions,
): Promise<StormResult> {
  await using admin = new Admin(server, DATABASE)
  await admin.query('TRUNCATE stored')
  await using proxy = await startProxy(server.tcp)
  const contestant = enter({ host: proxy.host, port: proxy.port, user: USER })
  const tasks = new Tasks(contestant, options)
  const reporting = report(tasks, options)
  let uncaught = 0
  const onUncaught = (): void => void uncaught++
  process.on('uncaughtException', onUncaught)
  const blows = await rage({ server, proxy, user: USER }, new Random(options.seed), options.millis)
  const hung = await tasks.end()
  clearInterval(reporting)
  await Promise.race([contestant.close().catch(() => {}), sleep(10_000, undefined, { ref: false })])
  proxy.close()
  process.off('uncaughtException', onUncaught)
  return {
    name: contestant.name,
    blows,
    hung,
    uncaught,
    ...(await compare(admin, tasks.ledger, tasks.wrong)),
  }
}

function report(tasks: Tasks, { onProgress, millis }: StormOptions): NodeJS.Timeout {
  const start = performance.now()
  return setInterval(() => {
    const [confirmed, refused, unknown] = (['confirmed', 'refused', 'unknown'] as const).map((fate) =>
      tasks.ledger.count(fate),
    ) as [number, number, number]
    onProgress?.(Math.min(1, (performance.now() - start) / millis), { confirmed, refused, unknown })
  }, 1_000)
}

class Tasks {
  readonly ledger = new Ledger()
  readonly wrong: string[] = []
  readonly #contestant: Contestant
  readonly #running: Promise<void>[]
  #left: number
  #ended = false

  constructor(contestant: Contestant, { seed, tasks }: StormOptions) {
    this.#contestant = contestant
    this.#left = tasks
    this.#running = Array.from({ length: tasks }, (_, n) => this.#run(new Random(seed + 1 + n)))
  }

  /** Nobody begins anything more; resolves with the number of those who are stuck. */
  async end(): Promise<number> {
    this.#ended = true
    await Promise.race([Promise.all(this.#running), sleep(SETTLE_MILLIS, undefined, { ref: false })])
    return this.#left
  }

  async #run(random: Random): Promise<void> {
    while (!this.#ended) {
      await this.#once(random)
      // A moment of its own: otherwise the end of the line is the only place where anything happens.
      await sleep(random.below(3))
    }
    this.#left--
  }

  async #once(random: Random): Promise<void> {
    const single = random.chance(0.25)
    const rows = Array.from({ length: single ? 1 : 1 + random.below(3) }, () => this.ledger.issue('stored'))
    const store = single ? this.#contestant.oneShot : random.pick(this.#contestant.transactions)
    try {
      const told = await store(rows)
      for (const id of rows) this.ledger.settle(id, told, told)
    } catch (error) {
      this.wrong.push(`a caller cannot tell what became of its rows: ${String(error)}`)
    }
  }
}

/** Looks once nobody can commit any more. */
async function compare(
  admin: Admin,
  ledger: Ledger,
  wrong: readonly string[],
): Promise<Omit<StormResult, 'name' | 'blows' | 'hung' | 'uncaught'>> {
  await until(async () => (await backendsOf(admin)) === 0, {
    what: 'the backends to go',
    timeoutMillis: 30_000,
  })
  const stored = (await admin.rows<{ id: number }>('SELECT id FROM stored')).map(({ id }) => id)
  for (const id of ledger.fates.keys()) ledger.settle(id, 'unknown', 'it never settled')
  return {
    ...{
      confirmed: ledger.count('confirmed'),
      refused: ledger.count('refused'),
      unknown: ledger.count('unknown'),
    },
    ...disagreements(ledger, stored),
    wrong: [...wrong, ...ledger.compare(stored)],
  }
}

function disagreements(
  ledger: Ledger,
  stored: readonly number[],
): Pick<StormResult, 'lost' | 'duplicated' | 'surprising'> {
  const times = new Map<number, number>()
  for (const id of stored) times.set(id, (times.get(id) ?? 0) + 1)
  const rows = [...ledger.fates].map(([id, fate]) => ({ fate, times: times.get(id) ?? 0 }))
  return {
    lost: rows.filter((row) => row.fate === 'confirmed' && row.times === 0).length,
    duplicated: rows.filter((row) => row.times > 1).length,
    surprising: rows.filter((row) => row.fate === 'refused' && row.times > 0).length,
  }
}

async function backendsOf(admin: Admin): Promise<number> {
  const [row] = await admin.rows<{ n: number }>(
    'SELECT count(pg_terminate_backend(pid))::int AS n FROM pg_stat_activity WHERE usename = $1',
    [USER],
  )
  return row!.n
}
