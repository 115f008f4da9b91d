/** What the tests of other people's libraries begin with. */
import type { ManagedConnectionOptions } from 'pg-managed-connection'
import type { PoolFaceOptions } from 'pg-managed-connection/pool'
import type { TestDatabase } from './database.js'
import { openPooled as openBriefly, type PooledManager } from './pooled-manager.js'

/** How many tasks each library runs at the same time, on the one connection. */
export const TASKS = 40

/** A manager and the pool that a library is given. */
export interface Pooled extends PooledManager {
  /** The clients that were released inside a transaction. */
  readonly leaks: number
}

/** Libraries have more time than the pool's own tests leave. */
export function openPooled(
  database: Pick<TestDatabase, 'conninfo'>,
  options: ManagedConnectionOptions = {},
  poolOptions: PoolFaceOptions = {},
): Pooled {
  const patient = { acquireTimeoutMillis: 30_000, ...options }
  const pooled = openBriefly(database.conninfo, patient, { endTimeoutMillis: 2_000, ...poolOptions })
  let leaks = 0
  pooled.pool.on('leak', () => leaks++)
  return {
    ...pooled,
    get leaks() {
      return leaks
    },
  }
}

/** 0, 1, … of as many tasks. */
export function tasks<T>(work: (n: number) => Promise<T>): Promise<T>[] {
  return Array.from({ length: TASKS }, (_, n) => work(n))
}

/** What a task throws to have its transaction rolled back. */
export class ChangeOfMind extends Error {}

/** Every third task changes its mind. */
export function changesItsMind(n: number): boolean {
  return n % 3 === 0
}

/** The sum of what the tasks add that do not change their minds. */
export const KEPT_SUM = Array.from({ length: TASKS }, (_, n) => (changesItsMind(n) ? 0 : n)).reduce(
  (sum, n) => sum + n,
  0,
)

/** The outcome of a task that may have changed its mind; any other failure is thrown. */
export async function orChangeOfMind(work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (error) {
    if (!(error instanceof ChangeOfMind)) throw error
  }
}
