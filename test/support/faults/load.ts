/**
 * A great many at once: whoever is in line is served, gives up or is told, and nothing is left in memory. Run in a
 * process of its own, with `--expose-gc`:
 *
 * ```
 * node --expose-gc build/test/support/faults/load.js CONNINFO QUEUED MILLIS SEED
 * ```
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { setMaxListeners } from 'node:events'
import { AcquireTimeoutError, ManagedConnection, type Connection } from 'pg-managed-connection'
import { Random } from '../random.js'

export interface LoadFigures {
  readonly queued: number
  readonly confirmed: number
  readonly timedOut: number
  readonly aborted: number
  /** Stored rows; as many as were confirmed. */
  readonly stored: number
  readonly seconds: number
  /** Of the long run behind it. */
  readonly transactions: number
  readonly heapBefore: number
  readonly heapAfter: number
  readonly heapHighest: number
}

/** One in ten gives up, half of them by a limit and half by a signal. */
const GIVES_UP_ONE_IN = 10
const SIGNALS = 50
/** A long run in pieces, so that the heap is looked at now and then. */
const PIECE = 1_000
const WARM_UP_PIECES = 5

async function queueAll(
  manager: ManagedConnection,
  count: number,
  random: Random,
): Promise<Omit<LoadFigures, `heap${string}` | 'transactions' | 'stored'>> {
  const aborts = Array.from({ length: SIGNALS }, () => new AbortController())
  setMaxListeners(0, ...aborts.map(({ signal }) => signal))
  const figures = { confirmed: 0, timedOut: 0, aborted: 0 }
  const start = performance.now()
  const queued = Array.from({ length: count }, async (_, id) => {
    const options = id % GIVES_UP_ONE_IN === 0 ? impatience(random, aborts) : { timeoutMillis: Infinity }
    try {
      await manager.transaction((connection) => store(connection, id), options)
      figures.confirmed++
    } catch (error) {
      if (error === 'aborted') figures.aborted++
      else if (error instanceof AcquireTimeoutError) figures.timedOut++
      else throw error
    }
  })
  for (const abort of aborts) setTimeout(() => abort.abort('aborted'), random.below(count / 50))
  await Promise.all(queued)
  return { queued: count, ...figures, seconds: (performance.now() - start) / 1_000 }
}

function impatience(
  random: Random,
  aborts: readonly AbortController[],
): { timeoutMillis?: number; signal?: AbortSignal } {
  if (random.chance(0.5)) return { timeoutMillis: 1 + random.below(500) }
  return { timeoutMillis: Infinity, signal: random.pick(aborts).signal }
}

function store(connection: Connection, id: number): Promise<unknown> {
  return connection.query('INSERT INTO load VALUES ($1)', [id])
}

/** Everything that a program may do, over and over. */
async function runPiece(manager: ManagedConnection): Promise<number> {
  await Promise.all(
    Array.from({ length: PIECE }, (_, n) => {
      if (n % 4 === 0) return manager.query('SELECT $1::int AS n', [n])
      if (n % 4 === 1) return manager.batch(['SELECT 1', 'SELECT 2'], { timeoutMillis: Infinity })
      if (n % 4 === 2)
        return manager
          .transaction(() => Promise.reject(new Error('changed its mind')), { timeoutMillis: Infinity })
          .catch(() => {})
      const ask = { text: `SELECT ${n % 300}`, timeoutMillis: 60_000 }
      return manager.transaction((connection) => connection.query(ask), { timeoutMillis: Infinity })
    }),
  )
  return PIECE
}

async function heap(): Promise<number> {
  for (let n = 0; n < 3; n++) {
    await nextTurn()
    globalThis.gc!()
  }
  return process.memoryUsage().heapUsed
}

async function runLong(
  manager: ManagedConnection,
  millis: number,
): Promise<Pick<LoadFigures, (`heap${string}` & keyof LoadFigures) | 'transactions'>> {
  for (let n = 0; n < WARM_UP_PIECES; n++) await runPiece(manager)
  const heapBefore = await heap()
  let heapAfter = heapBefore
  let heapHighest = heapBefore
  let transactions = 0
  const end = performance.now() + millis
  do {
    transactions += await runPiece(manager)
    heapAfter = await heap()
    heapHighest = Math.max(heapHighest, heapAfter)
  } while (performance.now() < end)
  return { transactions, heapBefore, heapAfter, heapHighest }
}

async function main([conninfo, queued, millis, seed]: readonly string[]): Promise<void> {
  await using manager = new ManagedConnection(conninfo, { acquireTimeoutMillis: Infinity })
  await manager.query('CREATE TABLE load (id int)')
  const crowd = await queueAll(manager, Number(queued), new Random(Number(seed)))
  const { rows } = await manager.query<{ stored: number }>(
    'SELECT count(DISTINCT id)::int AS stored FROM load',
  )
  await manager.query('DROP TABLE load')
  const long = await runLong(manager, Number(millis))
  process.stdout.write(
    `${JSON.stringify({ ...crowd, stored: rows[0]!.stored, ...long } satisfies LoadFigures)}\n`,
  )
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2))
