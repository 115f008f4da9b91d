/** How much memory it takes to wait. */
import { ManagedConnection, type Connection } from 'pg-managed-connection'
import { conninfoOf, type Place } from './place.js'
import type { Footprint } from './results.js'
import { summarise } from './statistics.js'

const PENDING = 100_000
const TARGET_BYTES = 500
/** It hardly varies. */
const MOST_ROUNDS = 3

/** The heap that each pending `acquire()` retains, after collection. Null without `--expose-gc`. */
export async function measureFootprint(place: Place, rounds: number): Promise<Footprint | null> {
  const collect = globalThis.gc
  if (collect === undefined) return null
  await using manager = new ManagedConnection(conninfoOf(place))
  await measureOnce(manager, collect) // warm-up
  const bytes: number[] = []
  while (bytes.length < Math.min(rounds, MOST_ROUNDS)) bytes.push(await measureOnce(manager, collect))
  const summary = summarise(bytes)
  return { bytes: summary, pending: PENDING, target: TARGET_BYTES, met: summary.median <= TARGET_BYTES }
}

async function measureOnce(manager: ManagedConnection, collect: NodeJS.GCFunction): Promise<number> {
  const holder = await manager.acquire()
  // Made beforehand: it is ours and not the library's.
  const asked = new Array<Promise<Connection>>(PENDING).fill(Promise.resolve(holder))
  void collect()
  const before = process.memoryUsage().heapUsed
  for (let index = 0; index < PENDING; index++) asked[index] = manager.acquire()
  void collect()
  const after = process.memoryUsage().heapUsed
  const { waiting } = manager.stats
  await holder.release()
  for (const pending of asked) await (await pending).release()
  if (waiting !== PENDING) throw new Error(`${waiting} waited, instead of ${PENDING}`)
  return (after - before) / PENDING
}
