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
   * The limit of each statement that has none of its own. 0 = none. Default: 0.
   *
   * It bounds the COMMIT, BEGIN and SAVEPOINT that the library sends, too: when the server does not answer one in
   * that time, the connection is dropped and the caller gets `ConnectionLostError`, for a COMMIT with
   * `commitOutcome: 'unknown'`.
   */
  readonly statementTimeoutMillis?: number | undefined
  /** How many may wait; a newcomer beyond gets `TooManyWaitingError`. Default: `Infinity`. */
  readonly maxWaiting?: number | undefined
  /**
   * Once the manager has been connected: how long opening it again rides out a restart or a failover, with
   * backoff and jitter. It bounds a server that accepts and says nothing, too. Only network errors, 57P0x,
   * 53300 and class 08 (a pooler whose server is away) are ridden out; the very first connect, a refused login and a failing `onConnect` fail at once.
   * Default: 30,000.
   */
  readonly reconnectTimeoutMillis?: number | undefined
  /** Close the server connection after this long unused; never while a subscription lives. 0 = off. Default: 0. */
  readonly idleTimeoutMillis?: number | undefined
  /** Replace a server connection that is older, between holders. 0 = off. Default: 0. */
  readonly maxLifetimeMillis?: number | undefined
  /**
   * A connection unused for longer is checked, for at most 5 s, before it is handed out. 0 = always.
   * `Infinity` = never. Default: 30,000.
   */
  readonly validateAfterIdleMillis?: number | undefined
  /**
   * While a subscription lives and nothing is unanswered, the server is asked this often whether it is there still, in
   * milliseconds; a connection that does not answer within 5 s is lost, and opened again. It disturbs no transaction.
   * 0 = off. Default: 30,000, or `validateAfterIdleMillis` where that is shorter, but at least 1,000.
   */
  readonly heartbeatMillis?: number | undefined
  /**
   * Emit `holdWarning` for a holder that keeps the connection longer, with the stack where it acquired it.
   * 0 = off. Default: 0.
   */
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
  /** An idle connection does not keep the process alive; a subscription does. Default: true. */
  readonly allowExitOnIdle?: boolean | undefined
}

/** The options with every default filled in; frozen. */
export type ResolvedOptions = Readonly<
  Required<{
    [K in keyof Omit<ManagedConnectionOptions, 'onConnect'>]: Exclude<ManagedConnectionOptions[K], undefined>
  }>
> & { readonly onConnect: ManagedConnectionOptions['onConnect'] }

export const DEFAULT_OPTIONS: ResolvedOptions = Object.freeze({
  autocommit: false,
  acquireTimeoutMillis: 30_000,
  statementTimeoutMillis: 0,
  maxWaiting: Infinity,
  reconnectTimeoutMillis: 30_000,
  idleTimeoutMillis: 0,
  maxLifetimeMillis: 0,
  validateAfterIdleMillis: 30_000,
  holdWarningMillis: 0,
  maxHoldMillis: 0,
  releaseGraceMillis: 5_000,
  reset: 'none',
  closeOn: 'broken',
  onConnect: undefined,
  pipeline: true,
  prepare: true,
  maxPrepared: 256,
  preparedLifetimeMillis: 1_000,
  heartbeatMillis: 30_000,
  traceHolders: false,
  allowExitOnIdle: true,
})

type Check = (name: string, value: unknown) => void

const CHECKS: Readonly<Record<keyof ResolvedOptions, Check>> = {
  autocommit: checkBoolean,
  acquireTimeoutMillis: checkMillis,
  statementTimeoutMillis: checkMillis,
  maxWaiting: checkCount,
  reconnectTimeoutMillis: checkMillis,
  idleTimeoutMillis: checkMillis,
  maxLifetimeMillis: checkMillis,
  validateAfterIdleMillis: checkMillis,
  holdWarningMillis: checkMillis,
  maxHoldMillis: checkMillis,
  releaseGraceMillis: checkMillis,
  reset: oneOf('none', 'session'),
  closeOn: oneOf('broken', 'database-error'),
  onConnect: checkFunction,
  pipeline: checkBoolean,
  prepare: checkBoolean,
  maxPrepared: checkCount,
  preparedLifetimeMillis: checkMillis,
  heartbeatMillis: checkMillis,
  traceHolders: checkBoolean,
  allowExitOnIdle: checkBoolean,
}

/** The names of the manager's options. */
export const OPTION_NAMES: ReadonlySet<string> = new Set(Object.keys(CHECKS))

/** What the connection parameters have to say about the options. */
export interface OptionSurroundings {
  /** Says of an unknown name where it belongs, if it belongs elsewhere. */
  readonly explainStray?: (name: string) => string | undefined
  /** pg's `query_timeout`, which means `statementTimeoutMillis`. */
  readonly queryTimeoutMillis?: number | undefined
}

/** Checks `options` and fills in the defaults. Throws a TypeError or RangeError that names the option and its value. */
export function resolveOptions(
  options: ManagedConnectionOptions,
  { explainStray, queryTimeoutMillis }: OptionSurroundings = {},
): ResolvedOptions {
  if (typeof options !== 'object' || options === null) throw new TypeError('options must be an object')
  const given = new Map<string, unknown>()
  for (const [name, value] of readMembers(options, (name) => OPTION_NAMES.has(name))) {
    if (value !== undefined) given.set(name, checkOption(name, value, explainStray))
  }
  if (queryTimeoutMillis !== undefined) {
    if (given.has('statementTimeoutMillis'))
      throw new TypeError('query_timeout and statementTimeoutMillis are the same thing: give one of them')
    given.set('statementTimeoutMillis', queryTimeoutMillis)
  }
  const resolved = { ...DEFAULT_OPTIONS, ...Object.fromEntries(given) } as ResolvedOptions
  const heartbeatMillis = given.has('heartbeatMillis') ? resolved.heartbeatMillis : defaultHeartbeat(resolved)
  return Object.freeze({ ...resolved, heartbeatMillis })
}

/** A short `validateAfterIdleMillis` says that losses are to be noticed soon, so the heartbeat is as frequent. */
function defaultHeartbeat({ validateAfterIdleMillis }: ResolvedOptions): number {
  return Math.min(
    DEFAULT_OPTIONS.heartbeatMillis,
    Math.max(validateAfterIdleMillis, SHORTEST_HEARTBEAT_MILLIS),
  )
}

const SHORTEST_HEARTBEAT_MILLIS = 1_000

function checkOption(
  name: string,
  value: unknown,
  explainStray: OptionSurroundings['explainStray'],
): unknown {
  if (!OPTION_NAMES.has(name)) {
    const hint = explainStray?.(name) ?? didYouMean(name, OPTION_NAMES)
    throw new TypeError(`unknown option "${name}"${hint}`)
  }
  CHECKS[name as keyof ResolvedOptions](name, value)
  return value
}

/** Checks a duration that a call gives. Throws a RangeError that names it. */
export function checkMillis(name: string, value: unknown): void {
  if (typeof value !== 'number' || !(value >= 0)) {
    throw new RangeError(`${name} must be a number of milliseconds, 0 or more, but is ${show(value)}`)
  }
}

/** Checks a boolean. Throws a TypeError that names it. */
export function checkBoolean(name: string, value: unknown): void {
  if (typeof value !== 'boolean') throw new TypeError(`${name} must be a boolean, but is ${show(value)}`)
}

/** Makes a check that a value is one of `allowed`. */
export function oneOf(...allowed: readonly string[]): Check {
  return (name, value) => {
    if (typeof value === 'string' && allowed.includes(value)) return
    throw new TypeError(
      `${name} must be ${allowed.map((word) => `'${word}'`).join(' or ')}, but is ${show(value)}`,
    )
  }
}

/** Checks a whole number of 0 or more, or Infinity. */
export function checkCount(name: string, value: unknown): void {
  if (value === Infinity || (Number.isInteger(value) && (value as number) >= 0)) return
  throw new RangeError(`${name} must be a whole number, 0 or more, but is ${show(value)}`)
}

function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw new TypeError(`${name} must be a function, but is ${show(value)}`)
}

function show(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}

/** Whether a query is one that the callback around it does not await: an option of its config. */
export function detachmentOf(config: unknown): { readonly detached?: boolean | undefined } {
  return typeof config === 'object' && config !== null ? config : {}
}

/** @throws TypeError where a statement of a batch has a limit, which would be the whole batch's */
export function refuseOwnLimits(statement: unknown, index: number): void {
  if (typeof statement !== 'object' || statement === null) return
  const limits = ['signal', 'timeoutMillis', 'query_timeout'] as const
  const own = limits.find((name) => (statement as Record<string, unknown>)[name] !== undefined)
  if (own === undefined) return
  throw new TypeError(
    `statement ${index} of the batch has ${own} of its own; a batch is one: give it a signal, or set statementTimeoutMillis`,
  )
}
