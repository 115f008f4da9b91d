/** What becomes of the server connection itself, and what the manager's events tell beside the channels. */
import { ManagedConnection } from '../index.js'
import { markOf, markOfRollback, type Mark } from './marks.js'
import { failedWith, shown, shownLabel } from './words.js'
import type { Facts, Item } from './items.js'
import type {
  ConnectContext,
  ManagedConnectionEvents,
  Manager,
  StatementContext,
  TraceContext,
} from '../index.js'

/** What of a recording is needed here. */
export interface Paper {
  now(): number
  /** Begins an item now, and keeps it. */
  add(beginning: Pick<Item, 'kind' | 'title'> & { facts?: Facts; label?: string | null }): Item
  /** Begins an item that is not kept yet. */
  create(beginning: Pick<Item, 'kind' | 'title'> & { facts?: Facts }, start: number): Item
  keep(item: Item): void
  /** What goes on at present. */
  open(): ReadonlyMap<TraceContext, Item>
}

type Heard = 'disconnect' | 'rollback' | 'holdWarning' | 'commitVerified'

type Listeners = { readonly [K in Heard]: (...args: ManagedConnectionEvents[K]) => void }

export class ConnectionRecord {
  readonly #paper: Paper
  /** Statements that were unanswered when a connection was lost. */
  readonly #cut = new WeakSet<Item>()
  /** The connection that is open. It is kept with the others once it is over, so that it outlasts what it was used for. */
  #present: Item | null = null

  constructor(paper: Paper) {
    this.#paper = paper
  }

  get present(): Item | null {
    return this.#present
  }

  /** Gives the function that ends it. A worker's manager is told of no events, and would never know of a loss. */
  watch(manager: Manager): () => void {
    if (!(manager instanceof ManagedConnection)) return () => {}
    const { processID, connectedMillis } = manager.stats
    if (connectedMillis !== null) this.#begin({ process: processID }, -connectedMillis)
    const { disconnect, rollback, holdWarning, commitVerified } = this.#listeners()
    manager.on('disconnect', disconnect).on('rollback', rollback)
    manager.on('holdWarning', holdWarning).on('commitVerified', commitVerified)
    return () => {
      manager.off('disconnect', disconnect).off('rollback', rollback)
      manager.off('holdWarning', holdWarning).off('commitVerified', commitVerified)
    }
  }

  #listeners(): Listeners {
    return {
      disconnect: (error) => this.#closed(error),
      rollback: ({ reason, label, statement, error }) => {
        const facts: Facts = { reason, 'opened by': statement === null ? null : shown(statement) }
        this.#tell(`rolled back: ${reason}`, markOfRollback(reason), facts, label, error)
      },
      holdWarning: ({ heldMillis, label, statement, returned, takenBack }) => {
        const facts: Facts = { 'held for': `${Math.round(heldMillis)} ms`, returned }
        if (statement !== null) facts['running'] = shown(statement)
        const title = takenBack ? 'taken back' : returned ? 'returned after all' : 'held for long'
        this.#tell(title, 'long', facts, label)
      },
      commitVerified: ({ outcome, millis }) => {
        this.#tell(`commit verified: ${outcome}`, 'verified', { outcome, took: `${Math.round(millis)} ms` })
      },
    }
  }

  #tell(title: string, mark: Mark, facts: Facts, label: string | null = null, error?: Error): void {
    const item = this.#paper.add({ kind: 'event', title, label: shownLabel(label), facts })
    item.end = item.start
    item.mark = mark
    if (error !== undefined) item.failed = failedWith(error)
  }

  #begin(facts: Facts, start: number): Item {
    this.#present = this.#paper.create({ kind: 'connection', title: 'open', facts }, start)
    return this.#present
  }

  /** A new one is being opened: the one before is over, though its end is told a moment later. */
  opening(): void {
    if (this.#present !== null) this.#present.end ??= this.#paper.now()
  }

  /** An opening is over, well or not. */
  opened(context: ConnectContext): void {
    if ('error' in context) return
    const { processID, host, port, reconnecting } = context
    const item = this.#begin({ process: processID, host, port }, this.#paper.now())
    if (reconnecting) item.mark = 'reopened'
  }

  #closed(error: Error | undefined): void {
    const item = this.#present
    this.#present = null
    if (item !== null) {
      item.end ??= this.#paper.now()
      this.#paper.keep(item)
    }
    if (error === undefined) return
    this.#tell('lost', 'lost', {}, null, error)
    for (const [context, open] of this.#paper.open()) {
      if (isSent(context as StatementContext, open)) this.#cut.add(open)
    }
  }

  /** A statement that was cut off and succeeded all the same was sent again. */
  checkReplayed(item: Item): void {
    if (!this.#cut.has(item)) return
    if (item.failed === null) item.mark = 'replay'
    else if (item.mark === 'error') item.mark = markOf({ code: 'ERR_CONNECTION_LOST' })
  }
}

/** Statements in a turn are sent at once; of one-shots it is told. */
function isSent({ hold, waitedMillis }: StatementContext, { kind }: Item): boolean {
  return (kind === 'statement' || kind === 'batch') && (hold !== null || waitedMillis !== null)
}
