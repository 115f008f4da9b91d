/** What the storm does to the server and to the wire, drawn from a seed. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { toConninfo } from '../../address.js'
import type { PostgresServer } from '../../postgres.js'
import type { Proxy } from '../../proxy.js'
import type { Random } from '../../random.js'
import { DATABASE } from './contestant.js'

export interface Place {
  readonly server: PostgresServer
  readonly proxy: Proxy
  /** The role whose backends are harmed. */
  readonly user: string
}

type Blow = (place: Place, random: Random) => void | Promise<void>

/** Each with its weight. Those of the wire are quick; those of the server end when it serves again. */
const BLOWS: readonly (readonly [name: string, weight: number, blow: Blow])[] = [
  ['reset', 14, ({ proxy }) => proxy.cut('reset')],
  ['clean close', 14, ({ proxy }) => proxy.cut('fin')],
  ['cut at a byte', 14, cutAtByte],
  ['deaf', 8, ({ proxy }) => proxy.cut('deaf')],
  ['stalled', 10, stall],
  ['delayed', 8, ({ proxy }, random) => void (proxy.delayMillis = random.below(15))],
  ['split', 8, ({ proxy }, random) => void (proxy.splitBytes = 1 + random.below(40))],
  ['calm', 12, ({ proxy }) => calm(proxy)],
  ['terminated', 14, terminate],
  ['killed', 4, killBackend],
  ['crash', 4, crash],
  ['full', 6, crowd],
]

/** Rages until the time is over; resolves with how often each blow fell, when everything is well again. */
export async function rage(place: Place, random: Random, millis: number): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  const end = performance.now() + millis
  while (performance.now() < end) {
    await sleep(20 + random.below(180))
    const [name, , blow] = draw(random)
    counts.set(name, (counts.get(name) ?? 0) + 1)
    await blow(place, random)
  }
  place.proxy.cancelPlan()
  calm(place.proxy)
  return counts
}

function draw(random: Random): (typeof BLOWS)[number] {
  let left = random.below(BLOWS.reduce((sum, [, weight]) => sum + weight, 0))
  return BLOWS.find(([, weight]) => (left -= weight) < 0)!
}

function calm(proxy: Proxy): void {
  proxy.delayMillis = 0
  proxy.splitBytes = Infinity
  proxy.resume()
}

function cutAtByte({ proxy }: Place, random: Random): void {
  const direction = random.pick(['toServer', 'toClient'] as const)
  proxy.cutAfter({ direction, bytes: random.below(400), how: random.pick(['reset', 'fin', 'deaf']) })
}

/** Nothing passes for a while, in one direction or both; then everything that was kept does. */
async function stall({ proxy }: Place, random: Random): Promise<void> {
  proxy.pause(random.pick(['toServer', 'toClient', undefined]))
  await sleep(random.below(700))
  proxy.resume()
}

/** 57P01 to whoever is connected. */
function terminate({ server, user }: Place): Promise<void> {
  return asSuperuser(server, 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [
    user,
  ])
}

/** One backend dies without a word: the server ends all others (57P02), recovers, and meanwhile says 57P03. */
async function killBackend({ server, user }: Place): Promise<void> {
  const pids = await pidsOf(server, user)
  if (pids.length > 0) process.kill(pids[0]!, 'SIGKILL')
}

/** An immediate shutdown, and a start: refused first, then 57P03, then served. */
async function crash({ server }: Place, random: Random): Promise<void> {
  await server.stop('immediate')
  await sleep(random.below(400))
  await server.start()
}

/** Strangers take all the places: 53300 to whoever comes. */
async function crowd({ server, proxy, user }: Place, random: Random): Promise<void> {
  const strangers = await Promise.all(Array.from({ length: 8 }, () => enter(server, user)))
  proxy.cut('reset') // or nobody would have to connect
  await sleep(300 + random.below(500))
  await Promise.all(strangers.map((stranger) => stranger.end().catch(() => {})))
}

async function enter({ tcp }: PostgresServer, user: string): Promise<pg.Client> {
  const stranger = new pg.Client({ connectionString: toConninfo({ ...tcp, user }, DATABASE) })
  stranger.on('error', () => {})
  await stranger.connect().catch(() => {})
  return stranger
}

async function pidsOf(server: PostgresServer, user: string): Promise<number[]> {
  const pids: number[] = []
  const text = 'SELECT pid FROM pg_stat_activity WHERE usename = $1'
  await asSuperuser(server, text, [user], (row) => pids.push(row['pid'] as number))
  return pids
}

/** By a connection of its own, which the storm may take away. */
async function asSuperuser(
  server: PostgresServer,
  text: string,
  values: unknown[],
  see: (row: Record<string, unknown>) => void = () => {},
): Promise<void> {
  const client = new pg.Client(server.conninfo(DATABASE))
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query<Record<string, unknown>>(text, values)
    rows.forEach(see)
  } catch {
    // The storm goes on.
  } finally {
    await client.end().catch(() => {})
  }
}
