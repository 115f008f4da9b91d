/** The options of a manager: validated once, a wrong value throws and names itself; nothing is repaired. */
import { readMembers } from './util/members.js'
import { didYouMean } from './util/nearest-name.js'
import type { Client } from 'pg'

/** Options of `new ManagedConnection(conninfo, options)`. Durations are in milliseconds. */
export interface ManagedConnectionOptions {
  /** For `use` and `acquire`: no implicit BEGIN, each statement commits by itself. Default: false. */
  readonly autocommit?: boolean | undefined
  /**
   * How long a turn is waited for, connecting included, where the call does not say otherwise. `Infinity` = for
   * ever, 0 = do not wait in line. Default: 30,000.
   */
  readonly acquireTimeoutMillis?: number | undefined
  /**
   * The limit of each statement that has none of its own. 0 = none. Default: 0. It bounds the library's own COMMIT,
   * BEGIN and SAVEPOINT, too: when the server does not answer one in that time, the connection is dropped and the
   * caller gets `ConnectionLostError`, for a COMMIT with `commitOutcome: 'unknown'`.
   */
  readonly statementTimeoutMillis?: number | undefined
  /** How many may wait; a newcomer beyond gets `TooManyWaitingError`. Default: `Infinity`. */
  readonly maxWaiting?: number | undefined
  /**
   * Once the manager has been connected: how long opening it again rides out a restart or a failover, with backoff
   * and jitter. It bounds a server that accepts and says nothing, too. Only network errors, 57P0x, 53300 and class 08
   * (a pooler whose server is away) are ridden out; the very first connect, a refused login and a failing `onConnect`
   * fail at once. Default: 30,000.
   */
  readonly reconnectTimeoutMillis?: number | undefined
  /** Close the server connection after this long unused; never while a subscription or a leader lives. 0 = off. Default: 0. */
  readonly idleTimeoutMillis?: number | undefined
  /** Replace a server connection that is older, between holders and leaders. 0 = off. Default: 0. */
  readonly maxLifetimeMillis?: number | undefined
  /** Check a connection unused for longer, for at most 5 s. 0 = always, `Infinity` = never. Default: 30,000. */
  readonly validateAfterIdleMillis?: number | undefined
  /**
   * While a subscription or a leader lives and nothing is unanswered, the server is asked this often whether it is there still, in
   * milliseconds; a connection that does not answer within 5 s is lost, and opened again. It disturbs no transaction.
   * 0 = off. Default: 30,000, or `validateAfterIdleMillis` where that is shorter, but at least 1,000.
   */
  readonly heartbeatMillis?: number | undefined
  /** Emit `holdWarning` for a holder that keeps it longer, with the stack where it acquired it. 0 = off. Default: 0. */
  readonly holdWarningMillis?: number | undefined
  /**
   * Take the connection back from a holder that keeps it longer: everything of it rejects with
   * `HoldTimeoutError` at once, what runs is cancelled and rolled back. 0 = off. Default: 0.
   */
  readonly maxHoldMillis?: number | undefined
  /**
   * How long a release waits for statements still in flight before they are cancelled and the connection is
   * dropped. The answer to a ROLLBACK is waited for as long, and at least for a second. Default: 5,000.
   */
  readonly releaseGraceMillis?: number | undefined
  /**
   * `'session'`: after each holder the session returns to the state that `onConnect` left: settings, role and
   * search_path; no temporary tables, cursors or advisory locks. It goes along with the COMMIT, without a round
   * trip of its own; one-shots are then sent one at a time. Default: `'none'`.
   */
  readonly reset?: 'none' | 'session' | undefined
  /**
   * Which errors that leave `use` close the server connection: only those that broke it, or any that the server
   * sent. Default: `'broken'`.
   */
  readonly closeOn?: 'broken' | 'database-error' | undefined
  /** Sets up the session on every connect and reconnect, before anyone gets the connection. Default: nothing. */
  readonly onConnect?: ((client: Client) => unknown) | undefined
  /** False where a proxy between cannot take pipelined statements. Default: true. */
  readonly pipeline?: boolean | undefined
  /**
   * Prepare a statement from its second use on, by its text of up to 16 KiB. False where a pooler between loses
   * prepared statements. Default: true.
   */
  readonly prepare?: boolean | undefined
  /**
   * For how long a prepared statement is used before its text is parsed anew, in milliseconds: what another session, or
   * a function, does to the tables and types in it may go unnoticed for so long. 0 = parse it each time. Default: 1,000.
   */
  readonly preparedLifetimeMillis?: number | undefined
  /** How many statements are prepared at most; the least recently used ones are closed. Default: 256. */
  readonly maxPrepared?: number | undefined
  /**
   * Remember the stack of every acquire for messages and warnings; it costs throughput. Always on with
   * `holdWarningMillis`. Default: false.
   */
  readonly traceHolders?: boolean | undefined
  /** Tell the values of parameters to tracing channels; they may be secret. Default: false. */
  readonly traceValues?: boolean | undefined
  /**
   * Is told of connecting (`debug`), of closing and losing the connection (`info`), and of forced rollbacks and late
   * holders (`warn`), with the texts of statements and without values. `NODE_DEBUG=pg-managed-connection` writes the same
   * to stderr. Default: none.
   */
  readonly logger?: Logger | undefined
  /** An idle connection does not keep the process alive; a subscription and a leader do. Default: true. */
  readonly allowExitOnIdle?: boolean | undefined
  /**
   * What is between this process and the server. With `'session'` a pooler that keeps a server connection for as long as
   * its client is connected is trusted with what depends on that; `'transaction'` switches `prepare` off, and `listen`,
   * `lead`, `groupCommit` and `verifyCommit: true` are refused. Default: it is looked at where it matters.
   */
  readonly pooler?: 'none' | 'session' | 'transaction' | undefined
  /**
   * For `transaction()` and `batch()`: many commits wait for the disk, or the standby, together. Each still resolves only
   * when it is as durable as the session's `synchronous_commit` promises. Default: false.
   */
  readonly groupCommit?: boolean | undefined
  /**
   * For `transaction()` and `batch()`: where the connection is lost before COMMIT was answered, find out on the next one
   * whether it was committed. True: by its transaction id, which is good unless the server has crashed or another has
   * taken its place. With a table of `createReceiptTable()`: by a row in it, in these cases, too. Default: false.
   */
  readonly verifyCommit?: VerifyCommit | undefined
}

/** What writes a log: `console`, and loggers of its shape such as pino's. */
export interface Logger {
  debug(message: string): unknown
  info(message: string): unknown
  warn(message: string): unknown
}

/** By transaction id, or by a receipt in a table. */
export type VerifyCommit = boolean | { readonly table: string }

/** The options with every default filled in; frozen. */
export type ResolvedOptions = Readonly<
  Required<{
    [K in keyof Omit<ManagedConnectionOptions, 'onConnect' | 'pooler' | 'logger'>]: Exclude<
      ManagedConnectionOptions[K],
      undefined
    >
  }>
> & {
  readonly onConnect: ManagedConnectionOptions['onConnect']
  readonly pooler: ManagedConnectionOptions['pooler']
  readonly logger: ManagedConnectionOptions['logger']
}

/** Throws a TypeError or RangeError that names the option and its value. */
export type Check = (name: string, value: unknown) => void

/** Options with their defaults, and how what is given for them is checked. */
export type OptionTable<T> = { readonly [K in keyof T]: readonly [value: T[K], check: Check] }

const OPTIONS: OptionTable<ResolvedOptions> = {
  autocommit: [false, checkBoolean],
  acquireTimeoutMillis: [30_000, checkMillis],
  statementTimeoutMillis: [0, checkMillis],
  maxWaiting: [Infinity, checkCount],
  reconnectTimeoutMillis: [30_000, checkMillis],
  idleTimeoutMillis: [0, checkMillis],
  maxLifetimeMillis: [0, checkMillis],
  validateAfterIdleMillis: [30_000, checkMillis],
  holdWarningMillis: [0, checkMillis],
  maxHoldMillis: [0, checkMillis],
  releaseGraceMillis: [5_000, checkMillis],
  reset: ['none', oneOf('none', 'session')],
  closeOn: ['broken', oneOf('broken', 'database-error')],
  onConnect: [undefined, checkFunction],
  pipeline: [true, checkBoolean],
  prepare: [true, checkBoolean],
  maxPrepared: [256, checkCount],
  preparedLifetimeMillis: [1_000, checkMillis],
  heartbeatMillis: [30_000, checkMillis],
  traceHolders: [false, checkBoolean],
  traceValues: [false, checkBoolean],
  allowExitOnIdle: [true, checkBoolean],
  logger: [undefined, checkLogger],
  pooler: [undefined, oneOf('none', 'session', 'transaction')],
  groupCommit: [false, checkBoolean],
  verifyCommit: [false, checkVerifyCommit],
}

export const DEFAULT_OPTIONS = defaultsOf(OPTIONS)

/** The names of the manager's options. */
export const OPTION_NAMES: ReadonlySet<string> = new Set(Object.keys(OPTIONS))

const SHORTEST_HEARTBEAT_MILLIS = 1_000

/**
 * Checks `options` and fills in the defaults. Throws a TypeError or RangeError that names the option and its value.
 *
 * @param surroundings what the connection parameters have to say: where an unknown name belongs, if it belongs
 * elsewhere; and pg's `query_timeout`, which means `statementTimeoutMillis`
 */
export function resolveOptions(
  options: ManagedConnectionOptions,
  surroundings: {
    explainStray?: (name: string) => string | undefined
    queryTimeoutMillis?: number | undefined
  } = {},
): ResolvedOptions {
  const given = readGiven(options, OPTIONS, surroundings.explainStray)
  const { queryTimeoutMillis } = surroundings
  if (queryTimeoutMillis !== undefined) {
    if (given.statementTimeoutMillis !== undefined)
      throw new TypeError('query_timeout and statementTimeoutMillis are the same thing: give one of them')
    given.statementTimeoutMillis = queryTimeoutMillis
  }
  const resolved = { ...DEFAULT_OPTIONS, ...given }
  // A short `validateAfterIdleMillis` says that losses are to be noticed soon, so the heartbeat is as frequent.
  const checkedMillis = Math.max(resolved.validateAfterIdleMillis, SHORTEST_HEARTBEAT_MILLIS)
  const heartbeatMillis = given.heartbeatMillis ?? Math.min(DEFAULT_OPTIONS.heartbeatMillis, checkedMillis)
  // Where each transaction may be on another server connection, the names of prepared statements mean nothing.
  const prepare = resolved.prepare && resolved.pooler !== 'transaction'
  return Object.freeze({ ...resolved, heartbeatMillis, prepare })
}

/** The options that were given, each read once and checked. */
export function readGiven<T extends object>(
  options: object,
  table: OptionTable<T>,
  explainStray?: (name: string) => string | undefined,
): { -readonly [K in keyof T]?: T[K] } {
  if (typeof options !== 'object' || options === null) throw new TypeError('options must be an object')
  const isKnown = (name: string): name is keyof T & string => Object.hasOwn(table, name)
  const given: Record<string, unknown> = {}
  for (const [name, value] of readMembers(options, isKnown)) {
    if (value === undefined) continue
    if (!isKnown(name)) {
      throw new TypeError(
        `unknown option "${name}"${explainStray?.(name) ?? didYouMean(name, Object.keys(table))}`,
      )
    }
    table[name][1](name, value)
    given[name] = value
  }
  return given as { -readonly [K in keyof T]?: T[K] }
}

export function defaultsOf<T extends object>(table: OptionTable<T>): T {
  const entries = Object.entries<readonly [unknown, Check]>(table)
  return Object.freeze(Object.fromEntries(entries.map(([name, [value]]) => [name, value]))) as T
}

export function checkMillis(name: string, value: unknown): void {
  if (typeof value !== 'number' || !(value >= 0)) {
    throw new RangeError(`${name} must be a number of milliseconds, 0 or more, but is ${show(value)}`)
  }
}

export function checkBoolean(name: string, value: unknown): void {
  if (typeof value !== 'boolean') throw new TypeError(`${name} must be a boolean, but is ${show(value)}`)
}

export function checkVerifyCommit(name: string, value: unknown): void {
  if (typeof value === 'boolean') return
  const { table, ...others } = (value ?? {}) as Record<string, unknown>
  if (typeof table === 'string' && table !== '' && Object.keys(others).length === 0) return
  throw new TypeError(`${name} must be a boolean or { table: 'its name' }, but is ${show(value)}`)
}

/** Of 0 or more, or Infinity. */
export function checkCount(name: string, value: unknown): void {
  if (value === Infinity || (Number.isInteger(value) && (value as number) >= 0)) return
  throw new RangeError(`${name} must be a whole number, 0 or more, but is ${show(value)}`)
}

function oneOf(...allowed: readonly string[]): Check {
  return (name, value) => {
    if (typeof value === 'string' && allowed.includes(value)) return
    const words = allowed.map((word) => `'${word}'`).join(' or ')
    throw new TypeError(`${name} must be ${words}, but is ${show(value)}`)
  }
}

function checkLogger(name: string, value: unknown): void {
  const logger = value as Partial<Logger> | null
  const missing = (['debug', 'info', 'warn'] as const).find((level) => typeof logger?.[level] !== 'function')
  if (missing !== undefined) {
    throw new TypeError(
      `${name} must have the methods debug, info and warn, as console has, but ${missing} is missing`,
    )
  }
}

function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw new TypeError(`${name} must be a function, but is ${show(value)}`)
}

function show(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}
