/** Spans of waiting, of turns, of transactions and of statements. */
import {
  context as contexts,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Attributes,
  type Context,
  type Span,
  type Tracer,
} from '@opentelemetry/api'
import { attributesOf, failureOf, operationAttributes, operationOf } from './attributes.js'
import { HOLD, STATEMENT, TRANSACTION, WAIT, type Channel } from '../diagnostics/channels.js'
import { watch } from '../diagnostics/watch.js'
import type { HoldContext, Manager, StatementContext, TransactionContext, WaitContext } from '../index.js'

/** What there may be spans of. */
export const SPANS = ['wait', 'hold', 'transaction', 'statement'] as const
export type SpanName = (typeof SPANS)[number]

type Traced = WaitContext | HoldContext | TransactionContext | StatementContext

const LABEL = 'pg_managed_connection.label'

/** What is remembered of something that has begun. */
interface Begun {
  readonly span: Span
  /** What its span is a child of. */
  readonly caller: Context
}

export class Traces {
  readonly #manager: Manager
  readonly #tracer: Tracer
  readonly #begun = new WeakMap<object, Begun>()
  /** Who asked for a turn: also known where there are no spans of waiting. */
  readonly #askers = new WeakMap<WaitContext, Context>()

  constructor(manager: Manager, tracer: Tracer) {
    this.#manager = manager
    this.#tracer = tracer
  }

  /** Makes spans of these. Gives the function that ends it. */
  start(names: readonly SpanName[]): () => void {
    const isWanted = (name: SpanName): boolean => names.includes(name)
    const stops = [
      watch(this.#manager, WAIT, {
        begin: (context) => {
          this.#askers.set(context, contexts.active())
          if (isWanted('wait')) this.#begin(context, 'wait for the connection', contexts.active())
        },
        end: (context) => this.#end(context),
      }),
    ]
    if (isWanted('hold')) stops.push(this.#watch(HOLD, (context) => this.#beginHold(context)))
    if (isWanted('transaction')) {
      stops.push(this.#watch(TRANSACTION, (context) => this.#beginTransaction(context)))
    }
    if (isWanted('statement')) {
      stops.push(this.#watch(STATEMENT, (context) => this.#beginStatement(context)))
    }
    return () => stops.forEach((stop) => stop())
  }

  #watch<C extends Traced>(channel: Channel<C>, begin: (context: C) => void): () => void {
    return watch(this.#manager, channel, { begin, end: (context) => this.#end(context) })
  }

  /** It begins where the turn before it ends, and not where it was asked for. */
  #beginHold(context: HoldContext): void {
    this.#begin(context, 'hold the connection', this.#askers.get(context.wait) ?? ROOT_CONTEXT)
  }

  #beginTransaction(context: TransactionContext): void {
    const { hold, parent } = context
    if (parent === null) this.#begin(context, 'transaction', this.#turnOf(hold))
    else this.#begin(context, 'savepoint', this.#parentOf(hold, parent))
  }

  /** A transaction belongs to its turn: the statement that opens it may lie in a span which ends long before it. */
  #turnOf(hold: HoldContext): Context {
    const turn = this.#begun.get(hold)
    if (turn !== undefined) return trace.setSpan(turn.caller, turn.span)
    return this.#askers.get(hold.wait) ?? contexts.active()
  }

  #beginStatement(context: StatementContext): void {
    const { text, batchSize, values, hold, transaction } = context
    const operation = operationOf(context)
    const parent = hold === null ? contexts.active() : this.#parentOf(hold, transaction ?? hold)
    const attributes = attributesOf(this.#manager)
    const name = [operation, attributes['db.namespace']].filter((part) => part !== undefined && part !== '')
    this.#begin(context, name.join(' ') || 'postgresql', parent, {
      ...attributes,
      'db.query.text': text,
      ...operationAttributes(context),
      ...(batchSize > 1 ? { 'db.operation.batch.size': batchSize } : {}),
      ...parametersOf(values),
    })
  }

  /**
   * Statements belong to their transaction, unless the caller has begun a span of its own since it had asked for the turn:
   * then they belong to that.
   */
  #parentOf(hold: HoldContext, within: object): Context {
    const active = contexts.active()
    const asker = this.#askers.get(hold.wait)
    const isOwn = asker === undefined || trace.getSpan(active) !== trace.getSpan(asker)
    const around = this.#begun.get(within) ?? this.#begun.get(hold)
    return isOwn || around === undefined ? active : trace.setSpan(around.caller, around.span)
  }

  #begin(
    context: { readonly label: string | null },
    name: string,
    caller: Context,
    attributes: Attributes = attributesOf(this.#manager),
  ): void {
    const kind = 'db.query.text' in attributes ? SpanKind.CLIENT : SpanKind.INTERNAL
    const label = context.label === null ? {} : { [LABEL]: context.label }
    const span = this.#tracer.startSpan(name, { kind, attributes: { ...attributes, ...label } }, caller)
    this.#begun.set(context, { span, caller })
  }

  #end(context: Traced): void {
    const span = this.#begun.get(context)?.span
    if (span === undefined) return
    if ('rowCount' in context && context.rowCount !== null) {
      span.setAttribute('db.response.returned_rows', context.rowCount)
    }
    if ('outcome' in context && context.outcome !== null) {
      span.setAttribute('pg_managed_connection.outcome', context.outcome)
    }
    if ('error' in context) {
      const { error } = context
      span.setAttributes(failureOf(error))
      span.setStatus({
        code: SpanStatusCode.ERROR,
        message: error instanceof Error ? error.message : String(error),
      })
    }
    span.end()
  }
}

/** `db.query.parameter.<index>`, where the manager tells them. */
function parametersOf(values: readonly unknown[] | null): Attributes {
  const entries = (values ?? []).map((value, index) => [`db.query.parameter.${index}`, String(value)])
  return Object.fromEntries(entries) as Attributes
}
