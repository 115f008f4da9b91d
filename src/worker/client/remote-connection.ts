/**
 * The handle of a holder in a worker: the same members as the owner's `Connection`, each of which the owner carries
 * out. What can be known here is refused here, in the same words.
 */
import { runCallback } from '../../lease/holder-context.js'
import { checkNested, checkOptionNames } from '../../face/option-names.js'
import { throwIfAborted } from '../../util/abort-signals.js'
import { ConnectionReleasedError, TransactionOrderError, outOfOrder } from '../../errors.js'
import { checkBoolean } from '../../options.js'
import { readStream } from './remote-stream.js'
import { answerBy, callbackOf, isSubmittable, readCall, submittableError } from './statement.js'
import { thrownFacts } from './thrown.js'
import type { CustomTypesConfig, QueryResult } from 'pg'
import type { Connection, StreamOptions, TransactionStatus } from '../../index.js'
import type { ToOwner, WireAnswer, WireLeaving } from '../protocol.js'
import type { CallFacts } from './calls.js'
import type { Link } from './link.js'
import type { RemoteLease } from './remote-lease.js'
import type { ResultDecoder } from './result-decoder.js'
import type { PreparedCall } from './statement.js'

/** What a handle needs of its manager. */
export interface HandleServices {
  /** The manager, as the key of its holders' scopes. */
  readonly manager: object
  readonly link: Link
  readonly decoder: ResultDecoder
  /** Parses what the worker's queries give; null where the owner does. */
  readonly types: CustomTypesConfig | null
  readonly processID: number | null
}

/** One level of the handle's transactions: the turn itself, or a nested `transaction()`. */
interface Level {
  /** By which the owner knows its handle: the turn's own number for the turn. */
  readonly number: number
  readonly owned: boolean
  nested: boolean
  over: boolean
}

/** A handle for a turn that is held. */
export function createHandle(turn: RemoteLease, services: HandleServices): Connection {
  const level: Level = { number: turn.id, owned: turn.owned, nested: false, over: false }
  return asConnection(new RemoteConnection(turn, services, level))
}

/** It has all the members; only its class is another, which is nobody's business. */
function asConnection(handle: RemoteConnection): Connection {
  return handle as unknown as Connection
}

class RemoteConnection implements Pick<Connection, Exclude<keyof Connection, 'query' | 'stream' | 'drop'>> {
  readonly #turn: RemoteLease
  readonly #services: HandleServices
  readonly #level: Level
  #released: Promise<void> | null = null

  constructor(turn: RemoteLease, services: HandleServices, level: Level) {
    this.#turn = turn
    this.#services = services
    this.#level = level
  }

  query(config: unknown, values?: unknown, callback?: unknown): unknown {
    if (isSubmittable(config)) throw submittableError()
    return answerBy(callbackOf(config, values, callback), this.#query(config, values))
  }

  #query(config: unknown, values: unknown): Promise<unknown> {
    let call: PreparedCall
    try {
      call = readCall(config, values, this.#services.types)
      this.#check()
      throwIfAborted(call.signal)
    } catch (error) {
      return Promise.reject(error as Error)
    }
    const { wire, wish, signal } = call
    const decode = (answer: WireAnswer): QueryResult | QueryResult[] =>
      this.#services.decoder.decode(answer, [wish])
    return this.#call((id) => ['statement', this.#turn.id, this.#level.number, id, wire], { signal, decode })
  }

  stream(
    text: string,
    values?: unknown[],
    options: StreamOptions = {},
  ): AsyncGenerator<unknown, void, undefined> {
    checkOptionNames('stream', options)
    return readStream(
      text,
      values,
      { ...options },
      {
        turn: this.#turn,
        handle: this.#level.number,
        link: this.#services.link,
        types: this.#services.types,
        check: () => this.#check(),
      },
    )
  }

  async commit(): Promise<void> {
    await this.#end('commit')
  }

  async rollback(): Promise<void> {
    await this.#end('rollback')
  }

  async #end(verb: 'commit' | 'rollback'): Promise<void> {
    this.#check()
    if (this.#level.owned) {
      throw new TransactionOrderError(
        `${verb}() was called inside transaction(), which ${verb === 'commit' ? 'commits when its callback returns' : 'rolls back when its callback throws'}`,
      )
    }
    const turn = this.#turn
    // Nothing is open, and nothing under way that might open something.
    if (turn.status === 'idle' && turn.outstanding === 0) return
    await this.#call((id) => [verb, turn.id, this.#level.number, id])
  }

  transaction<T>(work: (connection: Connection) => T | PromiseLike<T>, ...none: never[]): Promise<T> {
    try {
      this.#check()
    } catch (error) {
      return Promise.reject(error as Error)
    }
    const mistake = checkNested(work, none)
    if (mistake !== null) return Promise.reject(mistake)
    const number = this.#services.link.createID()
    const running = this.#nest(work, number)
    this.#turn.nested ??= new Map()
    this.#turn.nested.set(number, running)
    return running
  }

  async #nest<T>(work: (connection: Connection) => T | PromiseLike<T>, number: number): Promise<T> {
    this.#level.nested = true
    try {
      return await this.#runNested(work, number)
    } finally {
      this.#turn.nested?.delete(number)
      this.#level.nested = false
    }
  }

  async #runNested<T>(work: (connection: Connection) => T | PromiseLike<T>, number: number): Promise<T> {
    const turn = this.#turn
    const { link, manager } = this.#services
    // The owner says when it has begun: whether there is a transaction to nest in may depend on answers to come.
    await link.call(number, ['nest', turn.id, this.#level.number, number], { turn })
    const level: Level = { number, owned: true, nested: false, over: false }
    const child = asConnection(new RemoteConnection(turn, this.#services, level))
    let result: T
    try {
      result = await runCallback(manager, () => work(child))
    } catch (error) {
      await this.#endNested(level, 'threw', error).catch(() => {})
      throw error
    }
    await this.#endNested(level, 'returned')
    return result
  }

  async #endNested(level: Level, left: WireLeaving, error?: unknown): Promise<void> {
    level.over = true
    this.#services.link.markUnansweredHandled(this.#turn)
    if (level.nested) this.#turn.markNestedHandled()
    const thrown = left === 'threw' ? thrownFacts(error) : null
    await this.#call((id) => ['unnest', this.#turn.id, level.number, id, left, thrown])
  }

  #call<T>(entry: (id: number) => ToOwner, facts: CallFacts<T> = {}): Promise<T> {
    const { link } = this.#services
    const id = link.createID()
    return link.call(id, entry(id), { ...facts, turn: this.#turn })
  }

  get status(): TransactionStatus {
    const turn = this.#turn
    if (this.#level.over || turn.state !== 'held') return 'unknown'
    return turn.outstanding > 0 && turn.status !== 'unknown' ? 'active' : turn.status
  }

  get autocommit(): boolean {
    return this.#turn.autocommit
  }

  set autocommit(autocommit: boolean) {
    checkBoolean('autocommit', autocommit)
    this.#check()
    const turn = this.#turn
    if (this.#level.owned || turn.status !== 'idle' || turn.outstanding > 0) {
      throw new TransactionOrderError('autocommit can be set only while no transaction is open')
    }
    turn.autocommit = autocommit
    this.#services.link.say(['autocommit', turn.id, this.#level.number, autocommit])
  }

  get processID(): number | null {
    const { state, status } = this.#turn
    return state === 'held' && status !== 'unknown' ? this.#services.processID : null
  }

  async release(): Promise<void> {
    if (this.#released !== null) {
      // The first call has reported what there was to report.
      await this.#released.catch(() => {})
      return
    }
    if (this.#level.owned) {
      if (this.#turn.state !== 'held') return
      throw new TransactionOrderError(
        'release() was called inside transaction(), which returns the connection itself',
      )
    }
    this.#released = this.#release()
    await this.#released
  }

  async #release(): Promise<void> {
    const turn = this.#turn
    if (turn.revocation !== null) throw turn.revocation as Error
    if (turn.state === 'held') await this.#services.link.leave(turn, 'returned', null)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release()
  }

  /** Throws why nothing may be asked for. */
  #check(): void {
    const refusal = this.#turn.refusal()
    if (refusal !== null) throw refusal
    if (this.#level.over) throw new ConnectionReleasedError('transaction')
    const order = outOfOrder(this.#level.nested, this.#turn.streams)
    if (order !== null) throw order
  }
}
