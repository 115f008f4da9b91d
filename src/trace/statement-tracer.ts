/** Tells of statements: to the tracing channel, and to who listens to the manager's event `statement`. */
import { beginWith, finish, isTraced, STATEMENT } from '../diagnostics/channels.js'
import { now } from '../util/clock.js'
import type { QueryResult } from 'pg'
import type { Manager } from '../api/manager.js'
import type { EventSink, OutcomeWatch } from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import type { HoldContext, StatementContext, TransactionContext } from '../api/tracing.js'
import type { StatementEvent } from '../events.js'

/** What a statement is part of. */
export interface StatementPlace {
  readonly label: string | null
  readonly hold: HoldContext | null
  readonly transaction: TransactionContext | null
}

export class StatementTracer {
  readonly #events: EventSink
  readonly #traceValues: boolean

  constructor(events: EventSink, traceValues: boolean) {
    this.#events = events
    this.#traceValues = traceValues
  }

  /** Somebody wants to know of statements. */
  get wanted(): boolean {
    return isTraced(STATEMENT) || this.#events.listens('statement')
  }

  /** Of one statement, or of several that are sent together. */
  create(calls: readonly StatementCall[], { label, hold, transaction }: StatementPlace): StatementTrace {
    const isOne = calls.length === 1
    return this.#create({
      manager: this.#events.manager as Manager,
      label,
      text: calls.map(({ statement }) => statement.text).join('; '),
      batchSize: calls.length,
      values: this.#traceValues && isOne ? [...calls[0]!.statement.values] : null,
      hold,
      transaction,
      waitedMillis: null,
      command: null,
      rowCount: null,
    })
  }

  /** Of one that speaks to the connection itself. */
  createFor(text: string, { label, hold, transaction }: StatementPlace): StatementTrace {
    const manager = this.#events.manager as Manager
    const unknown = { values: null, waitedMillis: null, command: null, rowCount: null }
    return this.#create({ manager, label, text, batchSize: 1, hold, transaction, ...unknown })
  }

  #create(context: StatementContext): StatementTrace {
    return new StatementTrace(context, (event) => {
      if (this.#events.listens('statement')) this.#events.tell('statement', event)
    })
  }
}

class StatementTrace implements OutcomeWatch {
  readonly context: StatementContext
  /** Called once it is over, before its caller is told. */
  onOver: (() => void) | null = null
  readonly #startedAt = now()
  readonly #tell: (event: StatementEvent) => void

  constructor(context: StatementContext, tell: (event: StatementEvent) => void) {
    this.context = context
    this.#tell = tell
  }

  /** Asks for it. */
  run<T>(ask: () => T): T {
    return beginWith(STATEMENT, this.context, ask)
  }

  readonly onSent = (): void => {
    this.context.waitedMillis = now() - this.#startedAt
  }

  follow<T>(answered: Promise<T>): Promise<T> {
    return answered.then(
      (result) => {
        this.succeed(result)
        return result
      },
      (error: unknown) => {
        this.end({ error })
        throw error
      },
    )
  }

  succeed(result: unknown): void {
    const results = (Array.isArray(result) ? result : [result]) as readonly Partial<QueryResult>[]
    this.context.command = results.at(-1)?.command ?? null
    const counts = results.map(({ rowCount }) => rowCount ?? null)
    this.context.rowCount = counts.every((count) => count === null)
      ? null
      : counts.reduce<number>((sum, count) => sum + (count ?? 0), 0)
    this.end()
  }

  end(failure?: { error: unknown }): void {
    this.onOver?.()
    finish(STATEMENT, this.context, failure)
    const { label, text, waitedMillis, rowCount } = this.context
    const millis = now() - this.#startedAt
    this.#tell({ label, text, millis, waitedMillis, rowCount, error: failure?.error ?? null })
  }
}

/** Both are told. */
export function followedBy(watch: OutcomeWatch | null, trace: StatementTrace): OutcomeWatch {
  if (watch === null) return trace
  return { follow: (answered) => trace.follow(watch.follow(answered)) }
}
