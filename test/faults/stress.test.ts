/**
 * Random programs against one manager: many tasks query, commit, forget, throw, float statements, time out, abort,
 * nest, kill their backend. STRESS_SEED repeats a run as far as time allows; STRESS_MS says how long to go on.
 */
import assert from 'node:assert/strict'
import { getEventListeners, setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import {
  ConnectionLostError,
  HoldTimeoutError,
  ManagedConnection,
  ManagedConnectionError,
  type Connection,
  type ManagedConnectionOptions,
} from 'pg-managed-connection'
import { fateOfFailure, Ledger } from '../support/ledger.js'
import { Random } from '../support/random.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database

const STRESS_MILLIS = Number(process.env['STRESS_MS'] || 5_000)
const SEED = Number(process.env['STRESS_SEED'] || Math.floor(Math.random() * 2 ** 31))
const TASKS = 24
const ROUND_MILLIS = 400

await admin.query(`CREATE TABLE rows (id int); CREATE TABLE failing (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
  INSERT INTO failing VALUES (1)`)

/** What a task throws by itself. */
class OwnError extends Error {}

/** SQLSTATEs that the programs ask for: division by zero, in a failed transaction, the deferred constraint, control. */
const EXPECTED_STATES = new Set(['22012', '25P02', '23505', '25001', '25P01'])

/** Ends a backend without waiting until it has gone; one at a time, since the observer does one thing at a time. */
let killing: Promise<unknown> = Promise.resolve()
async function kill(pid: number | null): Promise<void> {
  killing = killing.then(() => admin.query('SELECT pg_terminate_backend($1)', [pid]))
  await killing
}

/** One program's world. */
class Round {
  readonly random: Random
  readonly options: ManagedConnectionOptions
  readonly manager: ManagedConnection
  readonly ledger = new Ledger()
  readonly wrong: string[] = []
  /** Everything hangs on it now and then; nothing may be left on it at the end. */
  readonly shared = new AbortController()
  #asked = 0
  #lastServed = 0
  #holder: { token: string; connection: Connection; signal: AbortSignal | undefined } | null = null
  readonly codes = new Map<string, number>()
  /** What each task is at, for the report when one of them never ends. */
  readonly doing = new Map<string, string>()

  constructor(seed: number) {
    this.random = new Random(seed)
    setMaxListeners(0, this.shared.signal)
    const { random } = this
    this.options = {
      pipeline: random.chance(0.85),
      prepare: random.chance(0.8),
      maxPrepared: random.pick([1, 2, 256]),
      reset: random.chance(0.25) ? 'session' : 'none',
      closeOn: random.chance(0.15) ? 'database-error' : 'broken',
      maxLifetimeMillis: random.chance(0.2) ? 40 : 0,
      maxHoldMillis: random.chance(0.25) ? random.pick([5, 20]) : 0,
      holdWarningMillis: random.chance(0.2) ? 10 : 0,
      validateAfterIdleMillis: random.chance(0.2) ? 1 : 30_000,
      idleTimeoutMillis: random.chance(0.2) ? 5 : 0,
      statementTimeoutMillis: random.chance(0.2) ? 5_000 : 0,
      releaseGraceMillis: random.chance(0.2) ? 20 : 5_000,
      maxWaiting: random.chance(0.1) ? 10 : Infinity,
    }
    this.manager = new ManagedConnection(database.conninfo, this.options)
    this.manager.on('error', (error) => this.wrong.push(`error event: ${error.message}`))
  }

  ask(): number {
    return ++this.#asked
  }

  /**
   * A holder begins: nobody else may hold, and nobody who asked later may have been before it.
   * @param signal ends its turn
   */
  enter(ask: number, token: string, connection: Connection, signal?: AbortSignal): void {
    const before = this.#holder
    // One whose time was up, or whose signal aborted, goes on working, but its handle is dead.
    const mayBeTakenBack = (this.options.maxHoldMillis ?? 0) > 0 || before?.signal?.aborted === true
    const takenBack = mayBeTakenBack && before?.connection.status === 'unknown'
    if (before !== null && !takenBack) this.wrong.push(`two holders at once: ${before.token} and ${token}`)
    if (ask < this.#lastServed) this.wrong.push(`${token} was served after one who had asked later`)
    this.#lastServed = Math.max(this.#lastServed, ask)
    this.#holder = { token, connection, signal }
  }

  leave(token: string): void {
    if (this.#holder?.token === token) this.#holder = null
  }

  /** Counts an error; one that no program asks for is wrong. */
  note(error: unknown, where: string): void {
    const { code } = error as { code?: string }
    const name = error instanceof Error ? `${error.constructor.name} ${code ?? ''}` : String(error)
    this.codes.set(name, (this.codes.get(name) ?? 0) + 1)
    if (error instanceof OwnError || error === 'aborted' || error instanceof ManagedConnectionError) return
    if (typeof code === 'string' && EXPECTED_STATES.has(code)) return
    this.wrong.push(
      `${where} got an error that nothing explains: ${String((error as Error)?.stack ?? error)}`,
    )
  }
}

/** One holder's doings. */
class Holder {
  readonly round: Round
  readonly token: string
  readonly autocommit: boolean
  /** A callback's holder is recognised when it asks again; one from acquire() would wait for itself. */
  marksContext = true
  /** Rows of the whole call. */
  readonly rows: number[] = []
  /** Rows of the transaction that is open. */
  open: number[] = []
  /** What it did, for the report. */
  readonly log: string[]
  #fresh = true

  constructor(round: Round, token: string, autocommit: boolean) {
    this.round = round
    this.token = token
    this.log = [`${token}${autocommit ? ' (autocommit)' : ''}`]
    this.autocommit = autocommit
  }

  async run(connection: Connection, mayEnd: boolean): Promise<void> {
    const { random } = this.round
    const steps = 1 + random.below(5)
    for (let i = 0; i < steps; i++) {
      try {
        await this.#step(connection, mayEnd)
      } catch (error) {
        this.round.note(error, this.token)
        this.log.push(String(error))
        if (random.chance(0.5)) throw error
      }
    }
    if (mayEnd && !this.autocommit && random.chance(0.6)) await this.#commit(connection)
  }

  async #step(connection: Connection, mayEnd: boolean): Promise<void> {
    const { random, manager } = this.round
    const dice = random.below(100)
    this.round.doing.set(this.token, `step ${dice}`)
    this.log.push(`step ${dice} when ${connection.status}`)
    if (dice < 35) return this.#insert(connection)
    if (dice < 45) return this.#look(connection)
    if (dice < 52) return void (await Promise.all([this.#insert(connection), this.#insert(connection)]))
    if (dice < 60) return this.#nest(connection, mayEnd)
    if (dice < 66 && mayEnd) return this.#commit(connection)
    if (dice < 70 && mayEnd) return this.#rollback(connection)
    if (dice < 75) return void (await connection.query('SELECT 1/0'))
    if (dice < 79) return void (await connection.query({ text: 'SELECT pg_sleep(0.05)', timeoutMillis: 5 }))
    if (dice < 82) return this.#insert(connection, { timeoutMillis: 1 + random.below(3) })
    if (dice < 85) {
      const abort = new AbortController()
      setTimeout(() => abort.abort('aborted'), random.below(4))
      return this.#insert(connection, { signal: abort.signal })
    }
    if (dice < 87) return this.#insert(connection, { signal: this.round.shared.signal })
    if (dice < 89) return void (await connection.query('INSERT INTO failing VALUES (1)'))
    if (dice < 91) return this.#float(connection)
    if (dice < 93) return kill(connection.processID)
    if (dice < 95) return void (await sleep(random.below(8)))
    if (dice < 97 && this.marksContext)
      return void (await assert.rejects(manager.query('SELECT 1'), { code: 'ERR_REENTRANT_ACQUIRE' }))
    if (dice < 98) return void (await connection.query('SELECT 1; SELECT 2'))
    throw new OwnError('thrown by the task')
  }

  /** Sees that nothing of another's transaction is visible; then marks its own. */
  async #look(connection: Connection): Promise<void> {
    const fresh = this.#fresh
    const [{ rows }] = await Promise.all([
      connection.query<{ mark: string }>(`SELECT coalesce(current_setting('app.mark', true), '') AS mark`),
      connection.query(`SELECT set_config('app.mark', $1, true)`, [this.autocommit ? '' : this.token]),
    ])
    const mark = rows[0]!.mark
    const right = mark === '' || (!fresh && mark === this.token)
    if (!right) this.round.wrong.push(`${this.token} sees the transaction of ${mark}`)
    this.#fresh = false
  }

  async #insert(
    connection: Connection,
    limits: { timeoutMillis?: number; signal?: AbortSignal } = {},
  ): Promise<void> {
    const id = this.#issue('inserted')
    if (!this.autocommit) this.open.push(id)
    const text = this.round.random.pick(['INSERT INTO rows VALUES ($1)', 'INSERT INTO rows SELECT $1::int'])
    try {
      const { rowCount } = await connection.query({ text, values: [id], ...limits })
      assert.equal(rowCount, 1)
      if (this.autocommit) this.round.ledger.settle(id, 'confirmed', 'autocommit')
    } catch (error) {
      const fate = fateOfFailure(error)
      // In a transaction the failed statement is gone unless nobody knows its end.
      this.round.ledger.settle(id, fate, String(error))
      throw error
    }
  }

  #issue(story: string): number {
    const id = this.round.ledger.issue(`${this.token} ${story}`)
    this.rows.push(id)
    return id
  }

  #float(connection: Connection): void {
    const id = this.#issue('floated')
    if (!this.autocommit) this.open.push(id)
    connection.query('INSERT INTO rows VALUES ($1)', [id]).then(
      () => this.autocommit && this.round.ledger.settle(id, 'confirmed', 'floated'),
      (error: unknown) => this.round.ledger.settle(id, fateOfFailure(error), String(error)),
    )
  }

  async #nest(connection: Connection, mayEnd: boolean): Promise<void> {
    const { random, ledger } = this.round
    const inner: number[] = []
    // With autocommit nothing else is ever open.
    const wasIdle = mayEnd && (this.autocommit || connection.status === 'idle')
    try {
      await connection.transaction(async (nested) => {
        await this.#insertNested(nested, inner)
        if (random.chance(0.3))
          await connection.query('SELECT 1').catch((error: unknown) => this.round.note(error, 'parent'))
        if (random.chance(0.3)) throw new OwnError('thrown by the nested work')
        if (random.chance(0.2)) await nested.query('SELECT 1/0').catch(() => {})
      })
      if (wasIdle) for (const id of inner) ledger.settle(id, 'confirmed', 'own nested transaction')
      else this.open.push(...inner)
    } catch (error) {
      for (const id of inner)
        ledger.settle(id, wasIdle ? fateOfFailure(error) : 'refused', `nested: ${String(error)}`)
      throw error
    }
  }

  async #insertNested(nested: Connection, inner: number[]): Promise<void> {
    const id = this.#issue('inserted in a nested transaction')
    inner.push(id)
    try {
      await nested.query('INSERT INTO rows VALUES ($1)', [id])
    } catch (error) {
      this.round.ledger.settle(id, 'refused', String(error))
      throw error
    }
  }

  async #commit(connection: Connection): Promise<void> {
    const rows = this.open
    this.open = []
    try {
      await connection.commit()
      for (const id of rows) this.round.ledger.settle(id, 'confirmed', 'commit()')
    } catch (error) {
      for (const id of rows) this.round.ledger.settle(id, fateOfFailure(error), `commit(): ${String(error)}`)
      throw error
    }
  }

  async #rollback(connection: Connection): Promise<void> {
    const rows = this.open
    this.open = []
    for (const id of rows) this.round.ledger.settle(id, 'refused', 'rollback()')
    await connection.rollback()
  }

  /** The whole call is over. */
  ended(outcome: PromiseSettledResult<unknown>, kind: string): void {
    const { ledger, wrong } = this.round
    const left = this.rows.filter((id) => ledger.fateOf(id) === 'pending')
    if (outcome.status === 'fulfilled') {
      if (kind !== 'transaction' && left.length > 0)
        wrong.push(`${kind} left rows open and was told nothing: ${this.log.join(', ')}`)
      for (const id of left) ledger.settle(id, 'confirmed', `${kind} resolved`)
      return
    }
    const error: unknown = outcome.reason
    this.round.note(error, this.token)
    // A COMMIT may have been under way when the connection was lost or taken back.
    const lost = error instanceof ConnectionLostError && error.commitOutcome === 'unknown'
    const takenBack = error instanceof HoldTimeoutError && !error.retrySafe
    for (const id of left)
      ledger.settle(
        id,
        lost || takenBack || this.autocommit ? 'unknown' : 'refused',
        `${kind}: ${String(error)}`,
      )
    if (error instanceof ManagedConnectionError && error.retrySafe) {
      ledger.forbid(this.rows, `${kind} was safe to retry: ${String(error)}`)
    }
  }
}

/** One task: asks for something, again and again, until the round is over. */
async function runTask(round: Round, name: string, end: number): Promise<void> {
  for (let n = 0; performance.now() < end; n++) {
    await runOnce(round, `${name}.${n}`)
    round.doing.delete(`${name}.${n}`)
    if (round.random.chance(0.3)) await sleep(round.random.below(6))
  }
}

async function runOnce(round: Round, token: string): Promise<void> {
  const { random } = round
  const dice = random.below(100)
  round.doing.set(token, `call ${dice}`)
  if (dice < 30) return hold(round, token, 'use')
  if (dice < 60) return hold(round, token, 'transaction')
  if (dice < 70) return acquire(round, token)
  if (dice < 85) return oneShot(round, token)
  if (dice < 95) return batch(round, token)
  if (dice < 97) return opensAndForgets(round, token)
  if (dice < 98) return void (await round.manager.close())
  const pid = round.manager.stats.processID
  await kill(pid)
}

/** How it waits for its turn, now and then with a limit. */
function waitOptions(round: Round): { timeoutMillis?: number; signal?: AbortSignal } {
  const { random } = round
  const dice = random.below(100)
  if (dice < 70) return {}
  if (dice < 80) return { timeoutMillis: random.below(15) }
  if (dice < 90) return { signal: round.shared.signal }
  const abort = new AbortController()
  setTimeout(() => abort.abort('aborted'), random.below(15))
  return { signal: abort.signal }
}

async function hold(round: Round, token: string, kind: 'use' | 'transaction'): Promise<void> {
  const { manager, random } = round
  const autocommit = kind === 'use' && random.chance(0.2)
  const holder = new Holder(round, token, autocommit)
  const ask = round.ask()
  const options = { ...waitOptions(round), ...(random.chance(0.05) ? { close: true } : {}) }
  const work = async (connection: Connection): Promise<void> => {
    round.enter(ask, token, connection, options.signal)
    try {
      await holder.run(connection, kind === 'use')
    } finally {
      round.leave(token)
    }
  }
  const asked =
    kind === 'use' ? manager.use(work, { ...options, autocommit }) : manager.transaction(work, options)
  const [outcome] = await Promise.allSettled([asked])
  holder.ended(outcome, kind)
}

async function acquire(round: Round, token: string): Promise<void> {
  const { manager, random } = round
  const ask = round.ask()
  const options = waitOptions(round)
  let connection: Connection | null
  try {
    connection = random.chance(0.2) ? await manager.tryAcquire(options) : await manager.acquire(options)
  } catch (error) {
    round.note(error, token)
    return
  }
  if (connection === null) return
  const held = connection
  const holder = new Holder(round, token, false)
  holder.marksContext = false
  round.enter(ask, token, held)
  const worked = await Promise.allSettled([holder.run(held, true)])
  round.leave(token)
  const [released] = await Promise.allSettled([held.release()])
  const failed = worked[0].status === 'rejected' && released.status === 'fulfilled'
  holder.ended(failed ? worked[0] : released, 'acquire')
  await assert.rejects(held.query('SELECT 1'), (error) => {
    const { code } = error as { code?: string }
    if (code !== 'ERR_CONNECTION_RELEASED' && code !== 'ERR_HOLD_TIMEOUT')
      round.wrong.push(`a tombstone spoke: ${String(error)}`)
    return true
  })
}

async function oneShot(round: Round, token: string): Promise<void> {
  const { random, ledger, manager } = round
  const id = ledger.issue(`${token} one-shot`)
  const limits = random.chance(0.2)
    ? { timeoutMillis: 1 + random.below(4) }
    : random.chance(0.2)
      ? { signal: round.shared.signal }
      : {}
  const [outcome] = await Promise.allSettled([
    manager.query({ text: 'INSERT INTO rows VALUES ($1)', values: [id], ...limits }),
  ])
  settleShot(round, [id], outcome, token)
}

async function batch(round: Round, token: string): Promise<void> {
  const { random, ledger, manager } = round
  const ids = Array.from({ length: 1 + random.below(3) }, () => ledger.issue(`${token} batch`))
  const statements = ids.map((id) => ({ text: 'INSERT INTO rows VALUES ($1)', values: [id] }))
  if (random.chance(0.2)) statements.push({ text: 'SELECT 1/($1::int - $1::int)', values: [1] })
  const options = random.chance(0.2) ? ({ isolationLevel: 'serializable' } as const) : {}
  const [outcome] = await Promise.allSettled([
    manager.batch(statements, { ...options, ...waitOptions(round) }),
  ])
  settleShot(round, ids, outcome, token)
}

function settleShot(
  round: Round,
  ids: number[],
  outcome: PromiseSettledResult<unknown>,
  token: string,
): void {
  const { ledger } = round
  if (outcome.status === 'fulfilled') {
    for (const id of ids) ledger.settle(id, 'confirmed', 'one-shot')
    return
  }
  round.note(outcome.reason, token)
  for (const id of ids) ledger.settle(id, fateOfFailure(outcome.reason), String(outcome.reason))
  if (outcome.reason instanceof ManagedConnectionError && outcome.reason.retrySafe) {
    ledger.forbid(ids, `safe to retry: ${String(outcome.reason)}`)
  }
}

async function opensAndForgets(round: Round, token: string): Promise<void> {
  const { ledger, manager } = round
  const id = ledger.issue(`${token} stray BEGIN`)
  const [outcome] = await Promise.allSettled([manager.query(`BEGIN; INSERT INTO rows VALUES (${id})`)])
  if (outcome.status === 'fulfilled') round.wrong.push(`${token}: a stray BEGIN went through`)
  else round.note(outcome.reason, token)
  ledger.settle(id, 'refused', 'never committed')
}

async function runRound(seed: number): Promise<Round> {
  await admin.query('TRUNCATE rows')
  const round = new Round(seed)
  const end = performance.now() + ROUND_MILLIS
  const tasks = Array.from({ length: TASKS }, (_, i) => runTask(round, `task ${i}`, end))
  setTimeout(() => round.shared.abort('aborted'), ROUND_MILLIS * round.random.next())
  try {
    await within(Promise.all(tasks), 'every promise to settle', 20_000).catch((error: Error) => {
      const left = JSON.stringify([...round.doing])
      throw new Error(
        `${error.message}: ${left} of ${inspect(round.manager)} ${JSON.stringify(round.manager.stats)}`,
      )
    })
    // A holder whose time was up has its answer before its statement is cancelled and rolled back.
    await until(() => !round.manager.stats.held, { what: 'the last holder to be tidied up' })
    const { stats } = round.manager
    if (stats.waiting > 0 || stats.held) round.wrong.push(`somebody is left: ${JSON.stringify(stats)}`)
    const left = getEventListeners(round.shared.signal, 'abort').length
    if (left > 0) round.wrong.push(`${left} listeners are left on a signal`)
  } finally {
    await within(round.manager.end({ timeoutMillis: 5_000 }), 'end()', 10_000)
  }
  await until(async () => (await admin.backends()).length === 0, { what: 'the backends to go' })
  const stored = await admin.rows<{ id: number }>('SELECT id FROM rows')
  round.wrong.push(...round.ledger.compare(stored.map(({ id }) => id)))
  return round
}

test(
  'random programs: one holder at a time, in order, nothing lost, nothing doubled, nothing left',
  { timeout: STRESS_MILLIS + 60_000 },
  async (t) => {
    const figures = { rounds: 0, confirmed: 0, refused: 0, unknown: 0 }
    const codes = new Map<string, number>()
    const end = performance.now() + STRESS_MILLIS
    t.diagnostic(`STRESS_SEED=${SEED}`)
    for (let seed = SEED; performance.now() < end; seed++) {
      let round: Round
      try {
        round = await runRound(seed)
      } catch (error) {
        throw new Error(`with STRESS_SEED=${seed}`, { cause: error })
      }
      if (round.wrong.length > 0) {
        const shown = round.wrong.slice(0, 10).join('\n')
        assert.fail(`with STRESS_SEED=${seed} and ${JSON.stringify(round.options)}:\n${shown}`)
      }
      figures.rounds++
      for (const fate of ['confirmed', 'refused', 'unknown'] as const)
        figures[fate] += round.ledger.count(fate)
      for (const [code, times] of round.codes) codes.set(code, (codes.get(code) ?? 0) + times)
    }
    t.diagnostic(JSON.stringify(figures))
    t.diagnostic(JSON.stringify(Object.fromEntries([...codes].sort())))
    assert.ok(figures.confirmed > 0 && figures.refused > 0)
  },
)
