/** The thread of a puppet. */
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import pg from 'pg'
import * as classes from 'pg-managed-connection'
import { lead, type Leader } from 'pg-managed-connection/leader'
import { attach } from 'pg-managed-connection/worker'
import { PATIENCE_MILLIS } from '../wait.js'
import type { Order, Report, Verb } from './puppet.js'
import type { Notification, Subscription } from 'pg-managed-connection'

const { port, leaves, awake } = workerData as { port: MessagePort; leaves: boolean; awake: Int32Array }
const manager = attach(port)
let subscription: Subscription | undefined

/** Of the same name as one in the test that cannot be copied. */
class Money {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

function describe(value: unknown): string {
  return value instanceof Money ? `Money ${value.text}` : `${typeof value} ${String(value)}`
}

const ACTIONS: Readonly<Record<Verb, (order: Order) => unknown>> = {
  use: () => manager.use(() => 'used'),
  'busy use': () => {
    const used = manager.use(() => 'used')
    // Behind the message that asks for the turn, which is sent in a tick, too.
    process.nextTick(() => Atomics.wait(awake, 0, 0, PATIENCE_MILLIS))
    return used
  },
  transaction: ({ texts }) =>
    manager.transaction((connection) => connection.query(texts[0]!).then(() => 'done')),
  hold: async ({ texts }) => {
    const connection = await manager.acquire()
    await Promise.all(texts.map((text) => connection.query(text)))
  },
  autocommit: ({ texts }) =>
    manager.use((connection) => connection.query(texts[0]!).then(() => {}), { autocommit: true }),
  'one-shot': ({ texts }) => manager.query(texts[0]!).then(() => {}),
  stream: async ({ texts }) => {
    const connection = await manager.acquire()
    await connection.stream(texts[0]!).next()
  },
  streamed: async ({ texts }) =>
    manager.transaction(async (connection) => {
      for await (const row of connection.stream<object>(texts[0]!)) return Object.values(row).map(describe)
      return []
    }),
  block: ({ texts, millis }) =>
    manager.transaction(async (connection) => {
      await connection.query(texts[0]!)
      Atomics.wait(awake, 0, 0, millis)
    }),
  listen: async () => {
    subscription = await manager.listen('channel')
  },
  lead: async ({ texts, millis }) => {
    let epoch = 0n
    const work = (leader: Leader): Promise<void> => {
      epoch = leader.epoch
      return sleep(millis)
    }
    await lead(manager, texts[0]!, work, { retryMillis: 20 })
    return String(epoch)
  },
  heard: async () => {
    for await (const notification of subscription!) return (notification as Notification).channel
    return 'the end'
  },
  look: () => ({ closed: manager.closed, status: manager.status }),
  values: async ({ texts }) => {
    const { rows } = await manager.query<object>(texts[0]!)
    return Object.values(rows[0]!).map(describe)
  },
  rows: async ({ texts }) => (await manager.query<object>(texts[0]!)).rows,
  'set parser': () => pg.types.setTypeParser(pg.types.builtins.NUMERIC, (text) => new Money(text) as never),
  end: () => manager.end(),
}

function end(how: 'exit' | 'throw' | 'close', id: number): void {
  if (how === 'exit') process.exit(0)
  if (how === 'throw') throw new Error('as it was told')
  port.close()
  parentPort!.postMessage({ id, value: null } satisfies Report)
}

async function obey(order: Order): Promise<void> {
  const { id, verb } = order
  if (verb === 'exit' || verb === 'throw' || verb === 'close') return end(verb, id)
  let report: Report
  try {
    report = { id, value: await ACTIONS[verb](order) }
  } catch (error) {
    report = { id, ...factsOf(error as Error) }
  }
  parentPort!.postMessage(report)
}

function factsOf(error: Error): { className: string; facts: Record<string, unknown> } {
  const known = (classes as unknown as Record<string, (abstract new () => unknown) | undefined>)[error.name]
  const className = known !== undefined && error instanceof known ? error.name : 'Error'
  const facts = Object.entries(error).filter(([, value]) => typeof value !== 'object')
  return { className, facts: { ...Object.fromEntries(facts), message: error.message } }
}

if (leaves) void manager.use(() => {})
else
  parentPort!.on('message', (order: Order) => {
    obey(order).catch((error: unknown) => {
      // Out of the promise, so that it ends the thread.
      setImmediate(() => {
        throw error
      })
    })
  })
