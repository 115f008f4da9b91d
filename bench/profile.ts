/** Writes CPU profiles of the transaction path, ours and that of pg.Pool. */
import { mkdir, writeFile } from 'node:fs/promises'
import { Session } from 'node:inspector/promises'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Contestant } from './contestants/contestant.js'
import { managedTransaction } from './contestants/managed.js'
import { poolTransaction } from './contestants/pg-pool.js'
import { FOLDER } from './peers.js'
import type { Place } from './place.js'
import { selectNumber } from './work.js'

const TASKS = 64
const WARM_UP_MILLIS = 1_000
const PROFILED_MILLIS = 4_000
const SAMPLE_EVERY_MICROS = 200

const PROFILED: Readonly<Record<string, Contestant>> = {
  'transaction-managed': managedTransaction,
  'transaction-pg-pool': poolTransaction,
}

/** Returns the files that it has written. */
export async function profileTransactions(place: Place): Promise<string[]> {
  const folder = new URL('results/profiles/', FOLDER)
  await mkdir(folder, { recursive: true })
  const files: string[] = []
  for (const [name, contestant] of Object.entries(PROFILED)) {
    const file = fileURLToPath(new URL(`${name}.cpuprofile`, folder))
    await writeFile(file, JSON.stringify(await profileOne(contestant, place)))
    files.push(relative(process.cwd(), file))
  }
  return files
}

async function profileOne(contestant: Contestant, place: Place): Promise<object> {
  const entrant = await contestant({ place, work: selectNumber(), tasks: TASKS })
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
