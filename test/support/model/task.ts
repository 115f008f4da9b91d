/** One task of a schedule: asks for the connection as its program says, a step at a time, and keeps its books. */
import {
  CommitRolledBackError,
  ConnectionLostError,
  HoldTimeoutError,
  ManagedConnectionError,
  type Connection,
} from 'pg-managed-connection'
import { fateOfFailure, type Fate } from '../ledger.js'
import type { Call, Step } from './programs.js'
import type { World } from './world.js'

/** What a task throws by itself. */
class OwnError extends Error {}

const INSERT = 'INSERT INTO rows VALUES ($1)'
const STATEMENT_MILLIS = 7
/** Steps whose holder may leave, or give up, before the server has answered. */
const GIVING_UP: readonly Step[] = ['float', 'insert in time', 'two in time', 'insert two']
/** The calls whose COMMIT is the library's. */
const VERIFIED: ReadonlySet<string> = new Set(['transaction', 'batch', 'explicit batch', 'failing batch'])
/** The calls that take the option `close`. */
const CLOSING: ReadonlySet<string> = new Set(['use', 'autocommit', 'transaction'])

export class ModelTask {
  readonly name: string
  readonly world: World
  readonly #calls: readonly Call[]
  #gate: (() => void) | null = null
  #abort: AbortController | null = null

  constructor(world: World, name: string, calls: readonly Call[]) {
    this.world = world
    this.name = name
    this.#calls = calls
  }

  /** It waits for its next step to be chosen. */
  get ready(): boolean {
    return this.#gate !== null
  }

  step(): void {
    const open = this.#gate
    this.#gate = null
    open?.()
  }

  /** It waits for the connection, with a signal. */
  get abortable(): boolean {
    return this.#abort !== null
  }

  abort(): void {
    const abort = this.#abort
    this.#abort = null
    abort?.abort('aborted')
  }

  async run(): Promise<void> {
    for (const [index, call] of this.#calls.entries()) {
      await this.pause()
      await new ModelCall(this, `${this.name}.${index}`, call).run()
      this.#abort = null
    }
  }

  pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#gate = resolve
    })
  }

  /** The options with which it waits. */
  waiting({ kind, wait, close }: Call): { signal?: AbortSignal; timeoutMillis?: number; close?: boolean } {
    const closing = close === true && CLOSING.has(kind) ? { close } : {}
    if (wait === 'limit') return { timeoutMillis: 15, ...closing }
    if (wait === undefined) return closing
    this.#abort = new AbortController()
    return { signal: this.#abort.signal, ...closing }
  }

  /** It has what it waited for. */
  granted(): void {
    this.#abort = null
  }
}

/** One call of a task's. */
class ModelCall {
  readonly #task: ModelTask
  readonly #world: World
  readonly #token: string
  readonly #call: Call
  readonly #autocommit: boolean
  /** Rows of the whole call. */
  readonly #rows: number[] = []
  /** Rows of the transaction that is open. */
  #open: number[] = []
  /** Something was sent since the transaction before was known to be over. */
  #dirty = false
  /** An error of its own has made the open transaction fail. */
  #failed = false
  #violated = false
  /** Nothing of the turn was sent before. */
  #first = true
  readonly #knownDeaths: number
  /** Errors that were looked at when they came. */
  readonly #explained = new Set<unknown>()

  constructor(task: ModelTask, token: string, call: Call) {
    this.#task = task
    this.#world = task.world
    this.#token = token
    this.#call = call
    this.#autocommit = call.kind === 'autocommit'
    this.#knownDeaths = this.#world.knownDeaths
  }

  async run(): Promise<void> {
    const [outcome] = await Promise.allSettled([this.#ask()])
    this.#world.note(`${this.#token} ${outcome.status === 'fulfilled' ? 'well' : nameOf(outcome.reason)}`)
  }

  #ask(): Promise<unknown> {
    const { manager } = this.#world
    const options = this.#task.waiting(this.#call)
    switch (this.#call.kind) {
      case 'use':
      case 'autocommit':
        return this.#hold((work) => manager.use(work, { ...options, autocommit: this.#autocommit }))
      case 'transaction':
        return this.#hold((work) => manager.transaction(work, options))
      case 'acquire':
        return this.#acquire(options)
      case 'query':
      case 'failing query':
        return this.#oneShot(options)
      case 'batch':
      case 'failing batch':
      case 'explicit batch':
        return this.#batch(options)
      case 'stray BEGIN':
        return this.#stray()
      case 'close':
        return manager.close()
      default:
        return this.#call.kind satisfies never
    }
  }

  // ---- holders

  async #hold(ask: (work: (connection: Connection) => Promise<void>) => Promise<void>): Promise<void> {
    const asked = this.#world.ask()
    const work = async (connection: Connection): Promise<void> => {
      this.#begin(asked)
      try {
        await this.#work(connection)
      } finally {
        this.#world.leave(this.#token)
      }
    }
    const [outcome] = await Promise.allSettled([ask(work)])
    this.#ended(outcome)
    if (outcome.status === 'rejected') throw outcome.reason
  }

  async #acquire(options: { signal?: AbortSignal; timeoutMillis?: number }): Promise<void> {
    const asked = this.#world.ask()
    const [granted] = await Promise.allSettled([this.#world.manager.acquire(options)])
    if (granted.status === 'rejected') return this.#explain(granted.reason)
    this.#begin(asked)
    const [worked] = await Promise.allSettled([this.#work(granted.value)])
    this.#world.leave(this.#token)
    const [released] = await Promise.allSettled([granted.value.release()])
    this.#ended(worked.status === 'rejected' && released.status === 'fulfilled' ? worked : released)
    await granted.value.query('SELECT 1').then(
      () => this.#wrong('a released handle spoke'),
      () => {},
    )
  }

  #begin(asked: number): void {
    this.#task.granted()
    this.#world.enter(asked, this.#token)
    this.#open = []
    this.#dirty = false
    this.#failed = false
    this.#violated = false
    this.#first = true
  }

  async #work(connection: Connection): Promise<void> {
    for (const step of this.#call.steps) {
      await this.#task.pause()
      this.#world.note(`${this.#token} ${step}`)
      await this.#step(connection, step)
    }
    await this.#task.pause()
  }

  async #step(connection: Connection, step: Step): Promise<void> {
    switch (step) {
      case 'insert':
        return this.#insert(connection)
      case 'insert two':
        return void (await Promise.all([this.#insert(connection), this.#insert(connection)]))
      case 'float':
        return void this.#insert(connection).catch(() => {})
      case 'insert in time':
        return this.#insert(connection, { timeoutMillis: STATEMENT_MILLIS })
      case 'two in time':
        return void (await Promise.all([
          this.#insert(connection, { timeoutMillis: STATEMENT_MILLIS }),
          this.#insert(connection, { timeoutMillis: STATEMENT_MILLIS }),
        ]))
      case 'fail':
        return this.#fail(connection)
      case 'swallow':
        return this.#fail(connection).catch(() => {})
      case 'violate':
        return this.#violate(connection)
      case 'look':
        return this.#look(connection)
      case 'commit':
        return this.#commit(connection)
      case 'rollback':
        return this.#rollback(connection)
      case 'nest':
      case 'nest and throw':
      case 'nest and swallow':
        return this.#nest(connection, step)
      case 'nothing':
        return
      case 'deallocate':
        return this.#statement(() => connection.query(this.#signed('DEALLOCATE ALL')))
      case 'throw':
        throw new OwnError('thrown by the task')
      default:
        return step satisfies never
    }
  }

  /** Sends a statement that is right; whatever it fails with must be the task's own doing, or the network's. */
  async #statement(send: () => Promise<unknown>): Promise<void> {
    this.#dirty = true
    this.#first = false
    try {
      await send()
    } catch (error) {
      this.#explain(error, this.#failed ? ['25P02'] : this.#autocommit && this.#violated ? ['23505'] : [])
      throw error
    }
  }

  async #insert(connection: Connection, limits: { timeoutMillis?: number } = {}): Promise<void> {
    const row = this.#issue('inserted', !this.#autocommit)
    // A failed transaction that was not told apart yet: what is sent beside a failing statement fails with it.
    const opens = this.#first && !this.#autocommit
    if (!this.#autocommit) this.#open.push(row)
    try {
      await this.#statement(() => connection.query({ text: INSERT, values: [row], ...limits }))
      if (this.#autocommit) this.#settle(row, 'confirmed', 'autocommit')
    } catch (error) {
      if (opens) this.#expectReplay(row, error)
      this.#settle(row, fateOfFailure(error), String(error))
      throw error
    }
  }

  #has(step: Step): boolean {
    return this.#call.steps.includes(step)
  }

  /** It may leave something running, or have it cancelled: a connection may be given up because of it. */
  get #mayGiveUp(): boolean {
    const { maxHoldMillis = 0 } = this.#world.program.options
    return maxHoldMillis > 0 || this.#call.wait !== undefined || GIVING_UP.some((step) => this.#has(step))
  }

  /** The opening of a turn is sent again when its connection dies, if its BEGIN was not answered. */
  #expectReplay(row: number, error: unknown): void {
    const { maxHoldMillis = 0 } = this.#world.program.options
    const { cause } = error as { cause?: unknown }
    const excused =
      maxHoldMillis > 0 || ['float', 'insert two', 'two in time'].some((step) => this.#has(step as Step))
    if (!(error instanceof ConnectionLostError) || excused || isConnectError(cause)) return
    if (this.#world.isReplayable(row)) this.#wrong(`its opening was not sent again: ${String(cause)}`)
  }

  async #fail(connection: Connection): Promise<void> {
    this.#dirty = true
    this.#first = false
    const failedBefore = this.#failed
    if (!this.#autocommit) this.#failed = true
    try {
      await connection.query(this.#signed('SELECT 1/0'))
      this.#wrong('a failing statement went well')
    } catch (error) {
      this.#explain(error, failedBefore ? ['22012', '25P02'] : ['22012'])
      throw error
    }
  }

  async #violate(connection: Connection): Promise<void> {
    this.#violated = true
    await this.#statement(() => connection.query(this.#signed('INSERT INTO failing VALUES (1)')))
  }

  /** Sees that nothing of another's transaction is visible; then marks its own. */
  async #look(connection: Connection): Promise<void> {
    await this.#statement(async () => {
      const { rows } = await connection.query<{ mark: string }>(
        this.#signed(`SELECT coalesce(current_setting('app.mark', true), '') AS mark`),
      )
      const mark = rows[0]!.mark
      if (mark !== '' && mark !== this.#token) this.#wrong(`sees the transaction of ${mark}`)
      await connection.query(`SELECT set_config('app.mark', $1, true)`, [this.#token])
    })
  }

  async #commit(connection: Connection): Promise<void> {
    const rows = this.#takeOpen()
    const [failed, violated] = [this.#failed, this.#violated]
    try {
      await connection.commit()
      this.#over()
      if (
        failed &&
        !this.#call.steps.includes('nest and throw') &&
        rows.some((row) => this.#fateOf(row) === 'pending')
      )
        this.#wrong('the commit of a failed transaction went well')
      for (const row of rows) this.#settle(row, 'confirmed', 'commit()')
    } catch (error) {
      if (!(error instanceof ConnectionLostError)) this.#over()
      this.#explain(error, violated ? ['23505'] : [])
      if (error instanceof CommitRolledBackError && !failed) this.#wrong('a good transaction was rolled back')
      for (const row of rows) this.#settle(row, fateOfFailure(error), `commit(): ${String(error)}`)
      throw error
    }
  }

  async #rollback(connection: Connection): Promise<void> {
    const rows = this.#takeOpen()
    try {
      await connection.rollback()
      this.#over()
    } catch (error) {
      this.#explain(error)
      throw error
    } finally {
      for (const row of rows) this.#settle(row, 'refused', 'rollback()')
    }
  }

  /** The text with a comment that says whose it is. */
  #signed(text: string): string {
    return `${text} /* ${this.#token} */`
  }

  #takeOpen(): number[] {
    const rows = this.#open
    this.#open = []
    return rows
  }

  /** The transaction is over, and nothing open. */
  #over(): void {
    this.#dirty = false
    this.#failed = false
    this.#violated = false
  }

  async #nest(connection: Connection, step: Step): Promise<void> {
    const inner: number[] = []
    const idle = this.#call.kind !== 'transaction' && (this.#autocommit || connection.status === 'idle')
    const failedBefore = this.#failed
    this.#dirty = true
    try {
      await connection.transaction(async (nested) => {
        await this.#task.pause()
        await this.#insertNested(nested, inner)
        await this.#task.pause()
        if (step === 'nest and throw') throw new OwnError('thrown by the nested work')
        if (step === 'nest and swallow') await nested.query('SELECT 1/0').catch(() => {})
      })
      if (idle) for (const row of inner) this.#settle(row, 'confirmed', 'own nested transaction')
      else this.#open.push(...inner)
      if (idle) this.#over()
    } catch (error) {
      this.#explain(error, failedBefore ? ['25P02'] : this.#violated && idle ? ['23505'] : [])
      for (const row of inner)
        this.#settle(row, idle ? fateOfFailure(error) : 'refused', `nested: ${String(error)}`)
      throw error
    } finally {
      this.#first = false
    }
  }

  async #insertNested(nested: Connection, inner: number[]): Promise<void> {
    const row = this.#issue('nested', true)
    inner.push(row)
    try {
      await nested.query(INSERT, [row])
    } catch (error) {
      this.#settle(row, 'refused', String(error))
      throw error
    }
  }

  /** The whole call is over. */
  #ended(outcome: PromiseSettledResult<unknown>): void {
    const { kind } = this.#call
    const left = this.#rows.filter((row) => this.#fateOf(row) === 'pending')
    if (outcome.status === 'fulfilled') {
      if (kind !== 'transaction' && left.length > 0) this.#wrong('left rows open and was told nothing')
      for (const row of left) this.#settle(row, 'confirmed', `${kind} resolved`)
      return
    }
    const error: unknown = outcome.reason
    this.#explain(error, this.#violated && kind === 'transaction' ? ['23505'] : [])
    if (error instanceof ConnectionLostError && !this.#dirty)
      this.#wrong(`nothing was open, and it is told: ${String(error)}`)
    const lost = error instanceof ConnectionLostError && error.commitOutcome === 'unknown'
    const takenBack = error instanceof HoldTimeoutError && !error.retrySafe
    const fate = lost || takenBack || this.#autocommit ? 'unknown' : 'refused'
    for (const row of left) this.#settle(row, fate, `${kind}: ${String(error)}`)
    this.#checkRetrySafe(error)
  }

  #checkRetrySafe(error: unknown): void {
    if (error instanceof ManagedConnectionError && error.retrySafe)
      this.#world.ledger.forbid(this.#rows, `it was safe to retry: ${String(error)}`)
  }

  // ---- one-shots and batches

  async #oneShot(options: { signal?: AbortSignal }): Promise<void> {
    const limits = this.#call.wait === 'limit' ? { timeoutMillis: STATEMENT_MILLIS } : options
    if (this.#call.kind === 'failing query')
      return this.#failing(this.#world.manager.query('SELECT 1/0'), ['22012'])
    const row = this.#issue('one-shot', false)
    await this.#shot([row], this.#world.manager.query({ text: INSERT, values: [row], ...limits }))
  }

  async #batch(options: { signal?: AbortSignal; timeoutMillis?: number }): Promise<void> {
    const { kind } = this.#call
    const rows = [1, 2].map(() => this.#issue('batched', this.#commitsApart))
    const statements: { text: string; values?: number[] }[] = rows.map((row) => ({
      text: INSERT,
      values: [row],
    }))
    if (kind === 'failing batch') statements.push({ text: 'SELECT 1/0' })
    const explicit = kind === 'explicit batch' ? ({ isolationLevel: 'serializable' } as const) : {}
    const answered = this.#world.manager.batch(statements, { ...explicit, ...options })
    if (kind !== 'failing batch') return this.#shot(rows, answered)
    await this.#failing(answered, ['22012'])
    for (const row of rows) this.#settle(row, 'refused', 'the batch fails')
  }

  /** The library sends COMMIT by itself, behind a batch. */
  get #commitsApart(): boolean {
    const { groupCommit = false, verifyCommit = false } = this.#world.program.options
    return VERIFIED.has(this.#call.kind) && (groupCommit || verifyCommit !== false)
  }

  async #shot(rows: readonly number[], answered: Promise<unknown>): Promise<void> {
    try {
      await answered
      for (const row of rows) this.#settle(row, 'confirmed', 'one-shot')
    } catch (error) {
      this.#explain(error, [], rows)
      if (
        error instanceof ConnectionLostError &&
        error.commitOutcome === 'none' &&
        !this.#commitsApart &&
        rows.some((row) => this.#world.wasSent(row))
      )
        this.#wrong('was told that nothing was committed, and it had been sent')
      for (const row of rows) this.#settle(row, fateOfFailure(error), String(error))
      this.#checkRetrySafe(error)
    }
  }

  /** What must fail, and only with these. */
  async #failing(answered: Promise<unknown>, states: readonly string[]): Promise<void> {
    try {
      await answered
      this.#wrong('what must fail went well')
    } catch (error) {
      this.#explain(error, states, null)
    }
  }

  async #stray(): Promise<void> {
    const row = this.#issue('stray BEGIN', false)
    await this.#failing(this.#world.manager.query(`BEGIN; INSERT INTO rows VALUES (${row})`), [])
    this.#settle(row, 'refused', 'never committed')
  }

  // ---- books

  #issue(story: string, repeatable: boolean): number {
    const row = this.#world.issue(this.#token, story, repeatable)
    this.#rows.push(row)
    return row
  }

  #settle(row: number, fate: Fate, why: string): void {
    if (fate === 'confirmed' && this.#fateOf(row) === 'pending') this.#world.checkDurable(row)
    this.#world.ledger.settle(row, fate, why)
  }

  #fateOf(row: number): Fate {
    return this.#world.ledger.fateOf(row)
  }

  /** An error of the server's must be one that the task has asked for; a loss must have had a cause. */
  #checkLoss(error: unknown, unsafe: readonly number[]): void {
    const facts = {
      knownBefore: this.#knownDeaths,
      unsafe,
      mayGiveUp: this.#mayGiveUp,
      isVerified: VERIFIED.has(this.#call.kind),
    }
    this.#world.checkLoss(error, this.#token, facts)
  }

  #explain(error: unknown, states: readonly string[] = [], unsafe: readonly number[] | null = []): void {
    if (this.#explained.has(error)) return
    this.#explained.add(error)
    if (error instanceof ManagedConnectionError) {
      // Any statement of an autocommit holder commits.
      if (unsafe !== null && !this.#autocommit) this.#checkLoss(error, unsafe)
      return
    }
    if (error instanceof OwnError || error === 'aborted') return void this.#explained.delete(error)
    const { code } = error as { code?: string }
    if (code !== undefined && states.includes(code)) return
    this.#wrong(`got an error that nothing explains: ${String(error)} ${code ?? ''}`)
  }

  #wrong(what: string): void {
    this.#world.wrong.push(`${this.#token} (${this.#call.kind}): ${what}`)
  }
}

function isConnectError(cause: unknown): boolean {
  return cause instanceof ManagedConnectionError && cause.code === 'ERR_CONNECT'
}

function nameOf(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown }
  return typeof code === 'string' ? code : String(error)
}
