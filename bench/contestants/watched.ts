/** This library, while somebody watches what it does. */
import { tracingChannel } from 'node:diagnostics_channel'
import { ManagedConnection, type ManagedConnectionOptions } from 'pg-managed-connection'
import { instrument } from 'pg-managed-connection/otel'
import { conninfoOf } from '../place.js'
import { inProcess, type Contestant } from './contestant.js'

/** Begins to watch, and gives what ends it. */
type Watch = (manager: ManagedConnection) => () => void

const CHANNELS = ['wait', 'hold', 'transaction', 'statement'].map((name) =>
  tracingChannel(`pg-managed-connection:${name}`),
)

const ignore = (): void => {}
const SUBSCRIBER = { start: ignore, end: ignore, asyncStart: ignore, asyncEnd: ignore, error: ignore }

const byChannels: Watch = () => {
  for (const channel of CHANNELS) channel.subscribe(SUBSCRIBER)
  return () => CHANNELS.forEach((channel) => void channel.unsubscribe(SUBSCRIBER))
}

const byStatementEvent: Watch = (manager) => {
  manager.on('statement', ignore)
  return () => void manager.off('statement', ignore)
}

const byOtel: Watch = (manager) => instrument(manager)

const nobody: Watch = () => ignore

/** Channels are the whole process's: they are listened to only while this contestant has something to do. */
class Watching {
  readonly #watch: () => () => void
  #running = 0
  #stop = ignore

  constructor(watch: () => () => void) {
    this.#watch = watch
  }

  async while<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running++ === 0) this.#stop = this.#watch()
    try {
      return await work()
    } finally {
      if (--this.#running === 0) this.#stop()
    }
  }
}

type Rows = Record<string, unknown>[]
type Once = (manager: ManagedConnection, text: string, values: unknown[]) => Promise<Rows>

const byTransaction: Once = (manager, text, values) =>
  manager.transaction(
    async (connection) => {
      const { rows } = await connection.query(text, values)
      return rows as Rows
    },
    { label: 'bench' },
  )

const byQuery: Once = async (manager, text, values) =>
  (await manager.query({ text, values, label: 'bench' })).rows as Rows

function watched(once: Once, watch: Watch, options: ManagedConnectionOptions = {}): Contestant {
  return inProcess((place, work) => {
    const manager = new ManagedConnection(conninfoOf(place), options)
    const watching = new Watching(() => watch(manager))
    return {
      once: (n) => watching.while(async () => work.check(await once(manager, work.text, [work.value(n)]), n)),
      close: () => manager.end(),
    }
  })
}

const quiet = { debug: ignore, info: ignore, warn: ignore }

/** The ways to watch, the one that watches nothing first. */
function entries(once: Once) {
  return [
    { name: 'nobody watches', contestant: watched(once, nobody) },
    { name: 'a logger', contestant: watched(once, nobody, { logger: quiet }) },
    { name: 'traceHolders', contestant: watched(once, nobody, { traceHolders: true }) },
    { name: 'the event statement', contestant: watched(once, byStatementEvent) },
    { name: 'all tracing channels', contestant: watched(once, byChannels) },
    { name: 'instrument(), without an SDK', contestant: watched(once, byOtel) },
  ]
}

export const watchedTransactions = entries(byTransaction)
export const watchedQueries = entries(byQuery)
