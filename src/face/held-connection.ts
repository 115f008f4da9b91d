/** The handle of one holder: what it may do with the connection while it has it. */
import { TransactionOrderError } from '../errors.js'
import { checkBoolean } from '../options.js'
import { reasonOf } from '../util/abort-signals.js'
import { clock } from '../util/clock.js'
import { answerBy, callbackOf } from './answer-by.js'
import { checkOptions, checkWork, NO_OPTIONS } from './call-options.js'
import { Level, markNestedHandled, type LeaseUse } from './nesting.js'
import { isSubmittable, readCall, type CallDefaults } from './read-call.js'
import { readRows } from './stream.js'
import type { QueryResult } from 'pg'
import type { Connection, TransactionStatus } from '../api/connection.js'
import type { DriverSubmittable, Lease } from '../api/ports.js'
import type { StreamOptions } from '../api/query.js'
import type { StatementCall } from '../api/statement.js'
import type { ShownStatement } from '../pg/instruments/shown-statement.js'
import type { Failure } from '../util/failure.js'
import type { Instruments, ShownCalls } from './shown-calls.js'

/** What handles need of their manager. */
export interface HandleContext {
  /** The manager, as the key of its holders' scopes. */
  readonly manager: object
  readonly defaults: CallDefaults
  readonly instruments: Instruments
}

/** A lease with its handle, and what all its handles share. */
export interface Holder {
  readonly use: LeaseUse
  readonly handle: Connection
}

export function createHolder(lease: Lease, context: HandleContext): Holder {
  const use: LeaseUse = { lease, streams: 0, nested: null }
  return { use, handle: toConnection(new HeldConnection(use, context, new Level(use, lease.owned))) }
}

/** pg's overloads of `query` cannot be written as one method. */
function toConnection(handle: HeldConnection): Connection {
  return handle as unknown as Connection
}

/** What the pool face asks of a handle beside its public members. */
export interface Droppable {
  /**
   * Drops the backend at once, where it runs a statement of the handle's: that is cancelled on the server, and
   * everything on the handle rejects. Null where it runs none, and where another's COMMIT is answered first.
   */
  drop(): Promise<void> | null
}

class HeldConnection implements Omit<Connection, 'query' | 'stream'>, Droppable {
  readonly #use: LeaseUse
  readonly #context: HandleContext
  readonly #level: Level
  #released: Promise<void> | null = null

  constructor(use: LeaseUse, context: HandleContext, level: Level) {
    this.#use = use
    this.#context = context
    this.#level = level
  }

  get #lease(): Lease {
    return this.#use.lease
  }

  query(config: unknown, values?: unknown, callback?: unknown): unknown {
    if (isSubmittable(config)) return this.#submit(config, callbackOf(undefined, values, callback))
    return answerBy(callbackOf(config, values, callback), this.#query(config, values), null)
  }

  #query(config: unknown, values: unknown): Promise<QueryResult> {
    try {
      const asked = readCall(config, values, this.#context.defaults)
      if (asked.settings !== null) {
        throw new TypeError(
          'settings and role are those of the turn: give them to use(), acquire() or transaction()',
        )
      }
      const shown = this.#context.instruments.show(asked)
      return this.#ask(shown?.calls[0] ?? asked, shown)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  #ask(call: StatementCall, shown: ShownCalls | null): Promise<QueryResult> {
    const refusal = this.#refusalOf(call)
    if (refusal === null) return this.#lease.query(call, shown)
    const refused = Promise.reject<QueryResult>(refusal.reason as Error)
    return shown === null ? refused : shown.follow(refused)
  }

  /** Why a statement is not sent; null where it is. */
  #refusalOf({ limits: { signal } }: StatementCall): Failure | null {
    const refusal = this.#level.refusal()
    if (refusal !== null) return { reason: refusal }
    return signal?.aborted === true ? { reason: reasonOf(signal) } : null
  }

  #submit(submittable: DriverSubmittable & { callback?: unknown }, listener: unknown): DriverSubmittable {
    // As in pg it is called by the submittable, unless that has one of its own.
    if (listener !== undefined) submittable.callback ??= listener
    let shown: ShownStatement | null
    try {
      shown = this.#context.instruments.showSubmittable(submittable)
    } catch (refusal) {
      // An instrument refuses it. It expects to be told of that on a later tick.
      clock.nextTick(() => submittable.handleError(refusal as Error, null as never))
      return submittable
    }
    try {
      const over = this.#lease.submit(submittable, this.#level.refusal())
      if (shown !== null) void over.then((error) => shown.settle(error))
    } catch (error) {
      shown?.settle(error)
      throw error
    }
    return submittable
  }

  stream(
    text: string,
    values?: unknown[],
    options: StreamOptions = NO_OPTIONS,
  ): AsyncIterableIterator<never> {
    checkOptions('stream', options)
    return readRows({ ...options, text, values }, this.#use, this.#level, this.#context)
  }

  // Not async functions, each of which would take a few more ticks.
  commit(): Promise<void> {
    const refusal = this.#refusalToEnd('commit', 'commits when its callback returns')
    return refusal === null ? this.#lease.commit() : Promise.reject(refusal)
  }

  rollback(): Promise<void> {
    const refusal = this.#refusalToEnd('rollback', 'rolls back when its callback throws')
    return refusal === null ? this.#lease.rollback() : Promise.reject(refusal)
  }

  #refusalToEnd(verb: 'commit' | 'rollback', instead: string): Error | null {
    const refusal = this.#level.refusal(true)
    if (refusal !== null || !this.#level.owned) return refusal
    return new TransactionOrderError(`${verb}() was called inside transaction(), which ${instead}`)
  }

  transaction<T>(work: (connection: Connection) => T | PromiseLike<T>, ...none: never[]): Promise<T> {
    try {
      const refusal = this.#level.refusal()
      if (refusal !== null) throw refusal
      checkWork('transaction', work)
      const [options = NO_OPTIONS] = none as object[]
      checkOptions('connection.transaction', options)
    } catch (error) {
      return Promise.reject(error as Error)
    }
    return this.#level.run(this.#context.manager, (level) =>
      work(toConnection(new HeldConnection(this.#use, this.#context, level))),
    )
  }

  get status(): TransactionStatus {
    return this.#level.over ? 'unknown' : this.#lease.status
  }

  get autocommit(): boolean {
    return this.#lease.autocommit
  }

  set autocommit(autocommit: boolean) {
    checkBoolean('autocommit', autocommit)
    const refusal = this.#level.refusal()
    if (refusal !== null) throw refusal
    if (this.#level.owned || !this.#lease.idle) {
      throw new TransactionOrderError('autocommit can be set only while no transaction is open')
    }
    this.#lease.autocommit = autocommit
  }

  get processID(): number | null {
    return this.#lease.processID
  }

  async release(): Promise<void> {
    if (this.#released !== null) {
      // The first call has reported what there was to report.
      await this.#released.catch(() => {})
      return
    }
    if (this.#level.owned) {
      if (!this.#lease.held) return
      throw new TransactionOrderError(
        'release() was called inside transaction(), which returns the connection itself',
      )
    }
    markNestedHandled(this.#use)
    this.#released = this.#lease.release({ left: 'returned', close: false })
    await this.#released
  }

  drop(): Promise<void> | null {
    return this.#lease.drop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release()
  }
}
