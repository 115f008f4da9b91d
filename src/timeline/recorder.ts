/** Writes down what the tracing channels tell of one manager. */
import { CONNECT, HOLD, STATEMENT, TRANSACTION, WAIT } from '../diagnostics/channels.js'
import { now } from '../util/clock.js'
import { isError } from '../util/thrown.js'
import { ConnectionRecord } from './connection-record.js'
import { markOf } from './marks.js'
import { Ring } from './ring.js'
import { watch } from '../diagnostics/watch.js'
import { failedWith, shown, shownLabel, shownValues } from './words.js'
import type { Facts, Item, Period } from './items.js'
import type {
  ConnectContext,
  HoldContext,
  Manager,
  StatementContext,
  TraceContext,
  TransactionContext,
  WaitContext,
} from '../index.js'

/** What is known of an item when it begins. */
type Beginning = Pick<Item, 'kind' | 'title'> &
  Partial<Pick<Item, 'place' | 'task' | 'parent' | 'label' | 'facts'>>

export class Recorder {
  readonly #manager: Manager
  readonly #startedAt = now()
  readonly #items: Ring<Item>
  /** What has begun and is not over. */
  readonly #open = new Map<TraceContext, Item>()
  /** The number of the task that waited so, and then held, and so on. */
  readonly #tasks = new WeakMap<WaitContext, number>()
  /** The task in which an error came up first: what it passed on its way out needs no mark of its own. */
  readonly #blamed = new WeakMap<object, number | null>()
  readonly #stops: (() => void)[] = []
  readonly #connection: ConnectionRecord
  #ids = 0
  #stoppedAt: number | null = null

  constructor(manager: Manager, capacity: number) {
    this.#manager = manager
    this.#items = new Ring(capacity)
    this.#connection = new ConnectionRecord({
      now: () => this.now(),
      add: (beginning) => this.#add(beginning),
      create: (beginning, start) => this.#create(beginning, start),
      keep: (item) => this.#items.add(item),
      open: () => this.#open,
    })
  }

  get size(): number {
    return this.#items.size
  }

  get dropped(): number {
    return this.#items.dropped
  }

  /** Milliseconds since the recording began; it stands still once that is stopped. */
  now(): number {
    return (this.#stoppedAt ?? now()) - this.#startedAt
  }

  /** What is known of: where older items had to go, from the oldest on that is left. */
  get period(): Period {
    const to = this.now()
    if (this.dropped === 0) return { from: 0, to }
    const oldest = this.#items.toArray().reduce((least, { start }) => Math.min(least, start), to)
    return { from: Math.max(0, oldest), to }
  }

  /** All items, in the order in which they began; of the connection that is open also where older ones had to go. */
  items(): Item[] {
    const present = this.#connection.present
    const items = present === null ? this.#items.toArray() : [present, ...this.#items.toArray()]
    return items.sort((a, b) => a.start - b.start || a.id - b.id)
  }

  start(): void {
    const manager = this.#manager
    const end = (context: TraceContext): void => void this.#end(context)
    this.#stops.push(
      watch(manager, CONNECT, {
        begin: (context) => this.#beginOpening(context),
        end: (context) => {
          this.#end(context)
          this.#connection.opened(context)
        },
      }),
      watch(manager, WAIT, { begin: (context: WaitContext) => this.#beginWait(context), end }),
      watch(manager, HOLD, { begin: (context: HoldContext) => this.#beginHold(context), end }),
      watch(manager, TRANSACTION, {
        begin: (context) => this.#beginTransaction(context),
        end: (context) => this.#endTransaction(context),
      }),
      watch(manager, STATEMENT, {
        begin: (context) => this.#beginStatement(context),
        end: (context) => this.#endStatement(context),
      }),
      this.#connection.watch(manager),
    )
  }

  stop(): void {
    if (this.#stoppedAt !== null) return
    this.#stoppedAt = now()
    for (const stop of this.#stops.splice(0)) stop()
    this.#open.clear()
  }

  // ---- what begins

  #create(beginning: Beginning, start: number): Item {
    return {
      id: ++this.#ids,
      place: 'connection',
      ...{ task: null, parent: null, label: null, facts: {} },
      ...beginning,
      start,
      ...{ end: null, sent: null, mark: null, failed: null },
    }
  }

  #add(beginning: Beginning): Item {
    const item = this.#create(beginning, this.now())
    this.#items.add(item)
    return item
  }

  #begin(context: TraceContext, beginning: Beginning): Item {
    const item = this.#add(beginning)
    this.#open.set(context, item)
    return item
  }

  #beginOpening(context: ConnectContext): void {
    this.#connection.opening()
    this.#begin(context, { kind: 'opening', title: context.reconnecting ? 'opening again' : 'opening' })
  }

  #beginWait(context: WaitContext): void {
    const task = this.#taskOf(context)
    const label = shownLabel(context.label)
    this.#begin(context, { kind: 'wait', title: 'waiting', place: 'turn', task, label })
  }

  #beginHold(context: HoldContext): void {
    const task = this.#taskOf(context.wait)
    const label = shownLabel(context.label)
    this.#begin(context, { kind: 'hold', title: 'holding', place: 'turn', task, label })
  }

  #beginTransaction(context: TransactionContext): void {
    const { hold, parent, label } = context
    this.#begin(context, {
      kind: 'transaction',
      title: parent === null ? 'transaction' : 'nested transaction',
      place: 'turn',
      task: this.#taskOf(hold.wait),
      parent: this.#idOf(parent ?? hold),
      label: shownLabel(label),
    })
  }

  #beginStatement(context: StatementContext): void {
    const { hold, transaction, label, batchSize } = context
    const isInTurn = hold !== null
    const facts: Facts = {}
    if (batchSize > 1) facts['statements'] = batchSize
    if (context.values !== null && context.values.length > 0) facts['values'] = shownValues(context.values)
    this.#begin(context, {
      kind: batchSize > 1 ? 'batch' : 'statement',
      title: shown(context.text),
      place: isInTurn ? 'turn' : 'one-shot',
      task: isInTurn ? this.#taskOf(hold.wait) : ++this.#ids,
      parent: isInTurn ? this.#idOf(transaction ?? hold) : null,
      label: shownLabel(label),
      facts,
    })
  }

  #taskOf(wait: WaitContext): number {
    const task = this.#tasks.get(wait) ?? ++this.#ids
    this.#tasks.set(wait, task)
    return task
  }

  /** Null where it began before the recording did. */
  #idOf(context: TraceContext): number | null {
    return this.#open.get(context)?.id ?? null
  }

  // ---- what is over

  #end(context: TraceContext): Item | null {
    const item = this.#open.get(context)
    if (item === undefined) return null
    this.#open.delete(context)
    item.end = this.now()
    if ('error' in context) this.#fail(item, context.error)
    return item
  }

  #fail(item: Item, error: unknown): void {
    item.failed = failedWith(error)
    const isNew = !isError(error) || this.#blamed.get(error) !== item.task
    if (isNew) item.mark = markOf(error)
    if (isError(error)) this.#blamed.set(error, item.task)
  }

  #endTransaction(context: TransactionContext): void {
    const item = this.#end(context)
    if (item !== null) item.facts['outcome'] = context.outcome
  }

  #endStatement(context: StatementContext): void {
    const item = this.#end(context)
    if (item === null) return
    const { waitedMillis, command, rowCount } = context
    if (waitedMillis !== null) item.sent = item.start + waitedMillis
    if (command !== null) item.facts['command'] = shown(command)
    if (rowCount !== null) item.facts['rows'] = rowCount
    this.#connection.checkReplayed(item)
  }
}
