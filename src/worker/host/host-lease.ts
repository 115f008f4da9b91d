/**
 * A worker's turn, on the owner's thread: a `use`, `transaction` or `acquire` of the manager, driven by what the
 * worker says. All that happens to it afterwards (settlement, replay, hold limits) is the manager's doing.
 *
 * States: `waiting` → `held` (granted) → `left` (the worker's callback has settled, or its handle was released) →
 * `over` (settled). What the worker says ahead of the grant, because it knew to be next, is kept until then. `dead`
 * comes instead when the worker is gone, or waits no longer.
 */
import { ConnectionLostError, ConnectionReleasedError } from '../../errors.js'
import { deadline } from '../../util/deadlines.js'
import { HostStream } from './host-stream.js'
import { NestedTransactions } from './nested-transactions.js'
import { toConfig } from './statement-config.js'
import { WorkerGoneError, standIn } from './stand-in.js'
import type { Connection } from '../../index.js'
import type { Thrown, TurnEntry, TurnKind, WireLeaving, WireStatement } from '../protocol.js'
import type { Asked, SharedLease } from './shared-manager.js'
import type { HostContext } from './host-context.js'

type State = 'waiting' | 'held' | 'left' | 'over' | 'dead'

/** A failure, boxed because anything may be thrown. */
export interface Failure {
  readonly error: unknown
}

export class HostLease implements SharedLease {
  readonly id: number
  readonly kind: TurnKind
  readonly #context: HostContext
  /** The handle of the turn itself, while it has one. */
  #connection: Connection | null = null
  /** Made when the first is: few turns have any. */
  #streams: Map<number, HostStream> | null = null
  #nested: NestedTransactions | null = null
  readonly #deadline = deadline(() => this.#onDue())
  readonly #timeoutMillis: number
  #asked: Asked | null = null
  #state: State = 'waiting'
  #floor: object | null = null
  #ahead: TurnEntry[] = []
  #leave: ((failure: Failure | null) => void) | null = null
  #thrown: Error | null = null
  /** Why it was taken out of the line. */
  #expiry: Error | null = null
  /** What the worker was told last about its session. */
  #said = 'idle'
  /** The worker was told that it is next. */
  #named = false
  /** The worker has started it on its own, knowing that it is next. */
  #begun = false
  #unanswered = 0

  constructor(id: number, kind: TurnKind, timeoutMillis: number, context: HostContext) {
    this.id = id
    this.kind = kind
    this.#timeoutMillis = timeoutMillis
    this.#context = context
  }

  get host(): object {
    return this.#context
  }

  get unanswered(): number {
    return this.#unanswered
  }

  /** Stands for it while it holds the connection. */
  get floor(): object | null {
    return this.#floor
  }

  // ---- waiting

  /** It stands in the line, or stood there: `asked` is null where it was refused. */
  waits(asked: Asked | null): void {
    if (asked === null || this.#state !== 'waiting') return
    const { desk } = this.#context
    this.#asked = asked
    desk.asked(this, asked)
    if (this.#timeoutMillis > 0) desk.deadlines.add(this.#deadline, this.#timeoutMillis)
  }

  /** Says that it is next; false when that was said before. */
  announce(): boolean {
    if (this.#named) return false
    this.#named = true
    return true
  }

  /** A turn that its worker may have started meanwhile is given up by both, or by none. */
  #onDue(): void {
    if (this.#named) this.#context.say(['late', this.id])
    else this.expire()
  }

  /** Its time has passed. */
  expire(): void {
    const expired = this.#asked?.reject(null) ?? false
    if (expired) this.#expiry = this.#context.desk.sharing.timedOut(this.#timeoutMillis)
  }

  /** Nobody waits for it any more. */
  withdraw(): void {
    // It crossed with the grant: the worker has forgotten the turn, and nothing was said in it.
    if (this.#state !== 'waiting') return this.#left('returned', null)
    this.#state = 'dead'
    this.#asked?.reject(new WorkerGoneError())
  }

  #outOfLine(): void {
    const { desk } = this.#context
    desk.deadlines.remove(this.#deadline)
    if (this.#asked !== null) desk.answered(this.#asked)
    this.#asked = null
  }

  // ---- holding

  /** Granted to a callback: resolves, or rejects with what stands for the error of the worker's, when it has left. */
  hold(connection: Connection): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#leave = (failure) => (failure === null ? resolve() : reject(failure.error as Error))
      this.#grant(connection)
    })
  }

  /** Granted to a handle: settles when it has been released, or taken back. */
  holdHandle(connection: Connection): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#leave = () => {
        const released = connection.release()
        // Taken back, it has been told of.
        released.catch(() => {})
        resolve(released)
      }
      this.#grant(connection)
      if (this.#floor !== null) this.#context.desk.sharing.onTakenBack(this.#floor, reject)
    })
  }

  #grant(connection: Connection): void {
    this.#outOfLine()
    if (this.#state === 'dead') return this.#leave!({ error: new WorkerGoneError() })
    const { desk } = this.#context
    this.#state = 'held'
    this.#floor = desk.sharing.floor
    this.#connection = connection
    desk.granted(this)
    if (!this.#begun) this.#context.say(['granted', this.id])
    const ahead = this.#ahead
    this.#ahead = []
    for (const entry of ahead) this.#act(entry)
  }

  /** The worker is gone: whatever it was about to do is rolled back. */
  kill(): void {
    if (this.#state === 'waiting') return this.withdraw()
    this.#nested?.kill()
    if (this.#state !== 'held') return
    const error = new WorkerGoneError()
    this.#state = 'dead'
    for (const stream of this.#streams?.values() ?? []) void stream.drop()
    this.#context.desk.sharing.takeBack(this.#floor!, error)
    this.#context.desk.left(this)
    this.#leave!({ error })
  }

  #left(left: WireLeaving, thrown: Thrown): void {
    if (this.#state !== 'held') return
    this.#state = 'left'
    this.#context.desk.left(this)
    this.#thrown = left === 'threw' ? standIn(thrown) : null
    this.#leave!(this.#thrown === null ? null : { error: this.#thrown })
  }

  /** The manager has settled it: null with a result, else what it rejected with. */
  settled(failure: Failure | null): void {
    this.#outOfLine()
    // Without having left: refused, or taken back.
    if (this.#state === 'held') this.#context.desk.left(this)
    const before = this.#state
    this.#state = 'over'
    this.#connection = null
    this.#nested?.kill()
    this.#forgetAhead()
    this.#context.settled(this.id)
    if (before === 'dead') return
    if (failure === null) this.#context.done(this.id)
    else if (this.#thrown !== null && failure.error === this.#thrown) this.#sayOwn()
    else this.#context.fail(this.id, before === 'waiting' ? this.#refusal(failure.error) : failure.error)
  }

  #sayOwn(): void {
    const { desk } = this.#context
    this.#context.say(['own', this.id, this.#floor !== null && desk.sharing.mayHaveCommitted(this.#floor)])
  }

  /** What its worker has started already has lost its connection, where others were refused one. */
  #refusal(error: unknown): unknown {
    if (this.#expiry !== null) return this.#expiry
    if (!this.#begun) return error
    return new ConnectionLostError({ commitOutcome: 'none', retrySafe: true, cause: error })
  }

  onSessionChanged(): void {
    this.#tellState()
  }

  /** Says what the session does between statements, where the worker does not know it yet. */
  #tellState(): void {
    if (this.#state !== 'held') return
    const status = this.#connection!.status
    if (status === 'active' || status === this.#said) return
    this.#said = status
    this.#context.say(['state', this.id, status])
  }

  // ---- what the worker says within it

  /** Throws what is wrong with it, if the worker may not say it now. */
  hear(entry: TurnEntry): void {
    if (this.#state !== 'waiting') return this.#act(entry)
    if (entry[0] === 'begun' && this.#named) this.#begun = true
    else if (this.#begun) this.#keepAhead(entry)
    else throw new TypeError(`"${entry[0]}" was said in a turn that had not begun`)
  }

  #keepAhead(entry: TurnEntry): void {
    // It may be cancelled before it is its turn.
    if (isAbortable(entry)) this.#context.aborts.signal(entry[3])
    this.#ahead.push(entry)
  }

  #forgetAhead(): void {
    for (const entry of this.#ahead) if (isAbortable(entry)) this.#context.aborts.over(entry[3])
    this.#ahead = []
  }

  #act(entry: TurnEntry): void {
    switch (entry[0]) {
      case 'begun':
        // It was granted meanwhile.
        return
      case 'leave':
        return this.#left(entry[2], entry[3])
      case 'autocommit':
        return this.#setAutocommit(entry[2], entry[3])
      case 'statement':
        return void this.#query(entry[2], entry[3], entry[4])
      case 'commit':
      case 'rollback':
        return void this.#run(entry[3], async () => this.#handle(entry[2])[entry[0]]())
      case 'nest':
        return void this.#run(entry[3], () => this.#nest(entry[2], entry[3]))
      case 'unnest':
        return void this.#run(entry[3], () => this.#unnest(entry[2], entry[4], entry[5]))
      case 'rows':
        return void this.#readStream(entry[2], entry[3], entry[4])
      case 'drop':
        return void this.#run(entry[3], () => this.#dropStream(entry[2]))
      default:
        return entry satisfies never
    }
  }

  /** @throws `ConnectionReleasedError` when there is no handle of that number any more. */
  #handle(number: number): Connection {
    if (number === this.id && this.#connection !== null) return this.#connection
    const connection = this.#nested?.handle(number)
    if (connection !== undefined) return connection
    throw new ConnectionReleasedError(number === this.id ? 'connection' : 'transaction')
  }

  async #query(handle: number, id: number, statement: WireStatement): Promise<void> {
    const { desk, aborts } = this.#context
    this.#unanswered++
    try {
      const config = toConfig(statement, desk.types, aborts.signalFor(id, statement))
      const result = await this.#handle(handle).query(config)
      this.#tellState()
      this.#context.answer(id, result)
    } catch (error) {
      this.#tellState()
      this.#context.fail(id, error)
    }
    this.#unanswered--
    aborts.over(id)
  }

  async #run(id: number, action: () => Promise<void>): Promise<void> {
    try {
      await action()
      this.#tellState()
      this.#context.say(['done', id])
    } catch (error) {
      this.#tellState()
      this.#context.fail(id, error)
    }
  }

  async #nest(parent: number, number: number): Promise<void> {
    const handle = this.#handle(parent)
    this.#nested ??= new NestedTransactions()
    await this.#nested.open(handle, number)
  }

  async #unnest(number: number, left: WireLeaving, thrown: Thrown): Promise<void> {
    if (this.#nested === null) throw new ConnectionReleasedError('transaction')
    await this.#nested.close(number, left, thrown)
  }

  #setAutocommit(handle: number, autocommit: boolean): void {
    try {
      this.#handle(handle).autocommit = autocommit
    } catch {
      // The worker has checked what it can know. The rest is that the session is lost, and its next statement tells.
    }
  }

  async #readStream(
    number: number,
    id: number,
    opening: readonly [handle: number, statement: WireStatement] | null,
  ): Promise<void> {
    try {
      if (opening !== null) this.#openStream(number, ...opening)
      const stream = this.#streams?.get(number)
      if (stream === undefined) throw new ConnectionReleasedError()
      const signal = stream.abortable ? this.#context.aborts.signal(id) : undefined
      const rows = await stream.read((buffer) => this.#context.transfer(buffer), signal)
      if (rows.done) this.#endStream(number)
      this.#context.say(['rows', id, rows])
    } catch (error) {
      void this.#streams?.get(number)?.drop()
      this.#endStream(number)
      this.#context.fail(id, error)
    }
    this.#context.aborts.over(id)
  }

  #openStream(number: number, handle: number, statement: WireStatement): void {
    const stream = new HostStream(this.#handle(handle), statement, this.#context.desk.types)
    this.#streams ??= new Map()
    this.#streams.set(number, stream)
  }

  #endStream(number: number): void {
    this.#streams?.delete(number)
    this.#tellState()
  }

  async #dropStream(number: number): Promise<void> {
    const stream = this.#streams?.get(number)
    this.#streams?.delete(number)
    await stream?.drop()
  }
}

/** A `cancel` may come for it by its number. */
function isAbortable(
  entry: TurnEntry,
): entry is Extract<TurnEntry, readonly ['statement' | 'rows', ...unknown[]]> {
  if (entry[0] === 'statement') return entry[4][4]
  return entry[0] === 'rows' && entry[4] !== null && entry[4][1][4]
}
