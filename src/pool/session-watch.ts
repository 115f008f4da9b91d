import type { EventEmitter } from 'node:events'
import type { Connection, Manager, NoticeEvent, RollbackEvent } from '../index.js'
import { timerFor } from '../util/timer.js'
import { tell } from './calls.js'
import { withClient } from './pg.js'
import { PassingClient } from './queries.js'
import type { PooledClient } from './pooled-client.js'

/**
 * Follows the manager's server connection, for the clients that are out and the pool's listeners. Only an EventEmitter
 * tells anything of it.
 */
export class SessionWatch {
  /** The clients that are out. */
  readonly out = new Set<PooledClient>()
  /** Something was asked on the present server connection: its end is news. */
  used = false
  /** Queries of the pool that are not answered. */
  queries = 0
  /** What `end()` waits for: borrowings, from connect() to release(), and queries that are not answered. */
  #attending = 0
  #onEmpty = (): void => {}
  /** The last client that was handed out, or told of. */
  #latest: PooledClient | PassingClient | null = null
  /** The server process that `connect` was emitted for; null where none was, or it is gone. */
  #announced: number | null = null
  /** The rollback of a client that had left statements in flight, until its release is over. */
  #rolledBack: RollbackEvent | null = null
  readonly #pool: EventEmitter
  /** Follows it no longer. */
  readonly stop: () => void

  constructor(manager: Manager, pool: EventEmitter) {
    this.#pool = pool
    this.stop = listen(manager, {
      disconnect: (error?: Error) => this.#onDisconnect(error),
      notice: (notice: NoticeEvent) => {
        for (const client of this.out) client.emit('notice', notice)
      },
      rollback: (event: RollbackEvent) => {
        if (event.reason === 'unfinished') this.#rolledBack = event
      },
    })
  }

  /** A client has this connection. */
  handOut(client: PooledClient, { processID }: Connection): void {
    this.out.add(client)
    this.used = true
    this.#latest = client
    if (processID !== this.#announced) {
      this.#announced = processID
      tell(this.#pool, 'connect', client)
    }
    tell(this.#pool, 'acquire', client)
  }

  /** A query of the pool travels without a client of its own. */
  pass(client: PassingClient): void {
    this.#latest = client
    tell(this.#pool, 'acquire', client)
  }

  /** Gives the rollback of unfinished statements that the manager has told of, once. */
  takeRollback(): RollbackEvent | null {
    const taken = this.#rolledBack
    this.#rolledBack = null
    return taken
  }

  enter(): void {
    this.#attending++
  }

  leave(): void {
    this.#attending--
    if (this.#attending === 0) this.#onEmpty()
  }

  /** Resolves when nobody is left, or when the time is over. */
  async emptied(timeoutMillis: number): Promise<void> {
    if (this.#attending === 0) return
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve
    })
    const timer = timerFor(timeoutMillis, this.#onEmpty)
    await empty
    timer?.stop()
  }

  #onDisconnect(error: Error | undefined): void {
    const wasUsed = this.used
    this.used = false
    this.#announced = null
    const lost = [...this.out].find((client) => client.isLost())
    lost?.tellLost(error)
    if (!wasUsed) return
    const client = this.#latest ?? new PassingClient(null)
    // Where a query waits for its answer, it is told by that.
    const isIdle = lost === undefined && this.queries === 0
    if (error !== undefined && isIdle && this.#pool.listenerCount('error') > 0) {
      tell(this.#pool, 'error', withClient(error, client), client)
    }
    tell(this.#pool, 'remove', client)
  }
}

/** Listens until the function that it returns is called. */
function listen(manager: Manager, listeners: Record<string, (...args: never[]) => void>): () => void {
  const emitter = manager as Partial<Pick<EventEmitter, 'on' | 'off'>>
  if (typeof emitter.on !== 'function' || typeof emitter.off !== 'function') return () => {}
  const all = Object.entries(listeners) as [string, () => void][]
  for (const [event, listener] of all) emitter.on(event, listener)
  return () => {
    for (const [event, listener] of all) emitter.off!(event, listener)
  }
}
