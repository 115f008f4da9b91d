/** Writes CPU profiles: of the transaction path, ours and that of pg.Pool, and of others when asked. */
import { mkdir, writeFile } from 'node:fs/promises'
import { Session } from 'node:inspector/promises'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Contestant } from './contestants/contestant.js'
import { managedBatch, managedQuery, managedTransaction, managedUse } from './contestants/managed.js'
import { poolTransaction } from './contestants/pg-pool.js'
import { postgresJsQuery } from './contestants/postgres-js.js'
import { FOLDER } from './peers.js'
import type { Place } from './place.js'
import { SELECT_ITEMS, selectNumber, type Work } from './work.js'

const TASKS = 64
const WARM_UP_MILLIS = 1_000
const PROFILED_MILLIS = 4_000
const SAMPLE_EVERY_MICROS = 200

interface Profiled {
  readonly contestant: Contestant
  readonly work: Work
}

/** By the name of the file. */
const PROFILED: Readonly<Record<string, Profiled>> = {
  transaction: { contestant: managedTransaction, work: selectNumber() },
  'transaction-pg-pool': { contestant: poolTransaction, work: selectNumber() },
  use: { contestant: managedUse, work: selectNumber() },
  query: { contestant: managedQuery, work: selectNumber() },
  'query-postgres-js': { contestant: postgresJsQuery, work: selectNumber() },
  'query-rows': { contestant: managedQuery, work: SELECT_ITEMS },
  batch: { contestant: managedBatch, work: selectNumber() },
  'batch-5': { contestant: managedBatch, work: selectNumber(5) },
}
const BY_DEFAULT = ['transaction']

/** Profiles what has a part of `only` in its name. Returns the files that it has written. */
export async function writeProfiles(place: Place, only: readonly string[]): Promise<string[]> {
  const parts = only.length === 0 ? BY_DEFAULT : only
  const folder = new URL('results/profiles/', FOLDER)
  await mkdir(folder, { recursive: true })
  const files: string[] = []
  for (const [name, profiled] of Object.entries(PROFILED)) {
    if (!parts.some((part) => name.includes(part))) continue
    const file = fileURLToPath(new URL(`${name}.cpuprofile`, folder))
    await writeFile(file, JSON.stringify(await profileOne(profiled, place)))
    files.push(relative(process.cwd(), file))
  }
  return files
}

async function profileOne({ contestant, work }: Profiled, place: Place): Promise<object> {
  const entrant = await contestant({ place, work, tasks: TASKS })
  const session = new Session()
  session.connect()
  try {
    await entrant.run(WARM_UP_MILLIS)
    await session.post('Profiler.enable')
    await session.post('Profiler.setSamplingInterval', { interval: SAMPLE_EVERY_MICROS })
    await session.post('Profiler.start')
    const rate = await entrant.run(PROFILED_MILLIS)
    const { profile } = await session.post('Profiler.stop')
    // So that self times can be told per transaction.
    return { ...profile, operations: Math.round((rate * (profile.endTime - profile.startTime)) / 1e6) }
  } finally {
    session.disconnect()
    await entrant.close()
  }
}
