/** What the programs have in common that are traced: they play all scenes, in this thread and in a worker. */
import { createRequire } from 'node:module'
import { isMainThread, parentPort, Worker, workerData, type MessagePort } from 'node:worker_threads'
import { play, type InSpan, type Loaded } from './scenes.js'
import type { ManagedConnection } from 'pg-managed-connection'

/** How the package is loaded. */
export type ModuleSystem = 'import' | 'require'

/** What the command line of a program says. */
export interface Order {
  readonly system: ModuleSystem
  readonly conninfo: string
  /** Words for the program alone. */
  readonly words: readonly string[]
}

/** A span, of whatever tracing. */
export interface SpanRecord {
  readonly id: string
  /** The span that it belongs to; null for a root. */
  readonly parent: string | null
  /** Who has made it. */
  readonly by: string
  readonly name: string
  /** The statement, where it is of one. */
  readonly text: string | null
  readonly failed: boolean
  readonly ended: boolean
}

interface Share {
  readonly order: Order
  readonly port: MessagePort
}

/** Of the program, or of the one that has started this worker. */
export function readOrder(): Order {
  if (!isMainThread) return (workerData as Share).order
  const [system, conninfo, ...words] = process.argv.slice(2)
  return { system: system as ModuleSystem, conninfo: conninfo!, words }
}

export async function load(system: ModuleSystem): Promise<Loaded> {
  if (system === 'import') return (await import('./load.js')).loaded
  return createRequire(import.meta.url)('./load-by-require.cjs') as Loaded
}

/**
 * Plays what is to be played in this thread, and starts the program in a worker, too. Gives what that has reported, and
 * null in the worker.
 */
export async function perform(
  loaded: Loaded,
  order: Order,
  inSpan: InSpan,
  program: string,
): Promise<unknown> {
  if (!isMainThread) {
    await performFarAway(loaded, inSpan)
    return null
  }
  const { library, otel } = loaded
  const open = (): ManagedConnection => {
    const manager = new library.ManagedConnection(order.conninfo)
    otel.instrument(manager, { metrics: false })
    return manager
  }
  const manager = open()
  await play({ ...loaded, manager, open, inSpan })
  const reported = await inSpan('shares', () => shareWithWorker(loaded, manager, order, program))
  await manager.end()
  return reported
}

/** The same program in a thread of its own. */
async function shareWithWorker(
  { worker: { share } }: Loaded,
  manager: ManagedConnection,
  order: Order,
  program: string,
): Promise<unknown> {
  const port = share(manager)
  const worker = new Worker(new URL(program), {
    workerData: { order, port } satisfies Share,
    transferList: [port],
  })
  let reported: unknown
  worker.on('message', (message) => (reported = message))
  await new Promise((resolve, reject) => worker.once('error', reject).once('exit', resolve))
  return reported
}

/** What a worker asks for; the owner's thread knows nothing of who asks for it. */
export const FAR_AWAY: Readonly<Record<string, readonly string[]>> = {
  'far away 1': ['SELECT 901'],
  'far away 2': ['SELECT 902'],
  'far away, in a turn': ['SELECT 903', 'SELECT 904'],
}

async function performFarAway({ worker: { attach }, otel }: Loaded, inSpan: InSpan): Promise<void> {
  const manager = attach((workerData as Share).port)
  otel.instrument(manager, { metrics: false })
  await Promise.all([
    inSpan('far away 1', () => manager.query('SELECT 901')),
    inSpan('far away 2', () => manager.query('SELECT 902')),
    inSpan('far away, in a turn', () =>
      manager.transaction((connection) =>
        Promise.all([connection.query('SELECT 903'), connection.query('SELECT 904')]),
      ),
    ),
  ])
  await manager.end()
}

/** To whoever has started this thread, or, of a program, to its output. */
export function report(what: unknown): void {
  if (isMainThread) process.stdout.write(JSON.stringify(what))
  else parentPort!.postMessage(what)
}
