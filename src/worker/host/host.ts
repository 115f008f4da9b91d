/**
 * One worker's side of the owner's thread: does with the manager what the worker says. Everything that is under way
 * for it ends when its port closes, which happens when the worker exits, crashes, is terminated, closes it, or says
 * what makes no sense.
 */
import { ConnectionReleasedError } from '../../errors.js'
import { BriefMap } from '../../util/brief-map.js'
import { SharedStats } from '../shared-stats.js'
import { listenTo } from '../inbox.js'
import { Outbox } from '../outbox.js'
import { encodeError } from '../wire-error.js'
import { Aborts } from './aborts.js'
import { checkEntry } from './check-entry.js'
import { HostCalls } from './host-calls.js'
import { HostLease } from './host-lease.js'
import { ResultEncoder } from './result-encoder.js'
import type { MessagePort } from 'node:worker_threads'
import type { TransactionOptions, UseOptions } from '../../index.js'
import type { ToOwner, ToWorker, TurnEntry, TurnKind, WireAnswer, WireOptions } from '../protocol.js'
import type { SharedManager, SharedHost } from './shared-manager.js'
import type { HostContext } from './host-context.js'

type Options = UseOptions & TransactionOptions

export class Host implements HostContext, SharedHost {
  readonly desk: SharedManager
  readonly aborts = new Aborts()
  /** This worker's own: another could write what it likes on it. */
  readonly board = new SharedStats()
  readonly #port: MessagePort
  readonly #outbox: Outbox<ToWorker>
  readonly #encoder: ResultEncoder
  readonly #turns = new BriefMap<number, HostLease>()
  readonly #calls: HostCalls
  #gone = false

  constructor(desk: SharedManager, port: MessagePort) {
    this.desk = desk
    this.#port = port
    this.#outbox = new Outbox<ToWorker>(port, {
      beforeFlush: () => this.#beforeFlush(),
      onFailure: (error) => this.#giveUp(error),
    })
    this.#encoder = new ResultEncoder((buffer) => this.transfer(buffer))
    this.#calls = new HostCalls(this)
    listenTo<unknown>(port, {
      hear: (entry) => this.#hear(entry),
      closed: () => this.#onGone(),
      failed: (error) => this.#giveUp(error),
    })
    desk.enter(this)
  }

  // ---- what is said to the worker

  say(entry: ToWorker): void {
    this.#outbox.push(entry)
  }

  /** Where the worker's next turn is about to be answered, that one goes along: each alone would wake the worker. */
  done(turn: number): void {
    const { current } = this.desk
    const answerComes = current?.host === this && current.unanswered > 0
    if (answerComes) this.#outbox.keep(['done', turn])
    else this.say(['done', turn])
  }

  fail(id: number, error: unknown): void {
    this.say(['failed', id, encodeError(error)])
  }

  answer(id: number, result: Parameters<ResultEncoder['encode']>[0]): void {
    let answer: WireAnswer
    try {
      answer = this.#encoder.encode(result)
    } catch (error) {
      return this.fail(id, error)
    }
    this.say(['answer', id, answer])
  }

  transfer(buffer: ArrayBuffer): void {
    this.#outbox.transfer(buffer)
  }

  settled(turn: number): void {
    this.#turns.delete(turn)
  }

  #beforeFlush(): void {
    const next = this.desk.next(this)
    if (next.length > 0) this.say(['next', next])
    this.write()
  }

  /** Brings the board up to date. */
  write(): void {
    const { manager } = this.desk
    this.board.write(manager.status, manager.stats)
  }

  // ---- the end

  onEnded(): void {
    this.#close('the thread that owns the connection has ended its manager')
  }

  /** The port is of no use any more. The worker hears why, if it can. */
  #giveUp(error: Error): void {
    if (this.#gone) return
    this.#close(error.message)
    this.desk.sharing.report(error)
  }

  #close(why: string): void {
    this.say(['bye', why])
    this.#outbox.close()
    this.#port.close()
    this.#onGone()
  }

  #onGone(): void {
    if (this.#gone) return
    this.#gone = true
    this.#outbox.close()
    this.aborts.abortAll()
    this.#calls.kill()
    for (const turn of this.#turns.values()) turn.kill()
    this.desk.leave(this)
  }

  // ---- what the worker says

  #hear(heard: unknown): void {
    if (this.#gone) return
    try {
      this.#act(checkEntry(heard))
    } catch (error) {
      this.#giveUp(new Error("a worker's port was closed: what it said makes no sense", { cause: error }))
    }
  }

  #act(entry: ToOwner): void {
    switch (entry[0]) {
      case 'ask':
        return this.#ask(entry[1], entry[2], entry[3], entry[4])
      case 'withdraw':
        return this.#turns.get(entry[1])?.withdraw()
      case 'expired':
        return this.#turns.get(entry[1])?.expire()
      case 'query':
        return this.#calls.query(entry[1], entry[2])
      case 'batch':
        return this.#calls.batch(entry[1], entry[2], entry[3], entry[4])
      case 'listen':
        return this.#calls.listen(entry[1], entry[2], entry[3])
      case 'cancel':
        return this.aborts.abort(entry[1])
      case 'heard':
        return this.#calls.heard(entry[1], entry[2])
      case 'unlisten':
        return this.#calls.unlisten(entry[1])
      case 'close':
        return void this.#closeConnection(entry[1])
      case 'look':
        return this.write()
      default:
        return this.#actInTurn(entry)
    }
  }

  #actInTurn(entry: TurnEntry): void {
    const turn = this.#turns.get(entry[1])
    if (turn !== undefined) turn.hear(entry)
    // It was settled meanwhile, and the worker is about to hear of it.
    else if (isCall(entry)) this.fail(entry[3], new ConnectionReleasedError())
  }

  async #closeConnection(id: number): Promise<void> {
    try {
      await this.desk.manager.close()
      this.say(['done', id])
    } catch (error) {
      this.fail(id, error)
    }
  }

  // ---- turns

  #ask(id: number, kind: TurnKind, options: WireOptions | null, stack: string | null): void {
    if (this.#turns.has(id)) throw new TypeError(`turn ${id} was asked for twice`)
    const { sharing } = this.desk
    const timeoutMillis = (options?.['timeoutMillis'] ?? sharing.options.acquireTimeoutMillis) as number
    const turn = new HostLease(id, kind, timeoutMillis, this)
    this.#turns.set(id, turn)
    // How long it waits is the turn's own business, unless it does not wait at all.
    const given: Options = { ...options, timeoutMillis: timeoutMillis === 0 ? 0 : Infinity }
    let settled!: Promise<void>
    turn.waits(
      sharing.watchAsk(stack, () => {
        settled = this.#askFor(turn, given)
      }),
    )
    settled.then(
      () => turn.settled(null),
      (error: unknown) => turn.settled({ error }),
    )
  }

  /** Settles with the turn. */
  #askFor(turn: HostLease, options: Options): Promise<void> {
    const { manager } = this.desk
    switch (turn.kind) {
      case 'use':
        return manager.use((connection) => turn.hold(connection), options)
      case 'transaction':
        return manager.transaction((connection) => turn.hold(connection), options)
      case 'acquire':
        return manager.acquire(options).then((connection) => turn.holdHandle(connection))
      case 'try':
        return manager
          .tryAcquire(options)
          .then((connection) => (connection === null ? undefined : turn.holdHandle(connection)))
      default:
        return turn.kind satisfies never
    }
  }
}

/** Its number is answered. */
function isCall(
  entry: TurnEntry,
): entry is Exclude<TurnEntry, readonly ['begun' | 'autocommit' | 'leave', ...unknown[]]> {
  return entry[0] !== 'begun' && entry[0] !== 'autocommit' && entry[0] !== 'leave'
}
