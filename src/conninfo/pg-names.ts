/** The connection parameters by pg's own names. */
import { keywords, type KeywordName } from './keywords.js'
import type { PgParameters } from './parameters.js'

/** A name of pg's: what its value must be, in words and as a check, and the keyword that means the same. */
interface PgName {
  readonly must: string
  readonly check: (value: unknown) => boolean
  readonly keyword?: KeywordName
  /** The keyword's value that says the same as a value that is no string; without it the keyword is only taken. */
  readonly text?: (value: never) => string
}

const isObject = (value: unknown) => typeof value === 'object' && value !== null
const isFunction = (value: unknown) => typeof value === 'function'
const isWhole = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0

const TEXT: PgName = { must: 'a string', check: (value) => typeof value === 'string' }
const FLAG: PgName = { must: 'a boolean', check: (value) => typeof value === 'boolean' }
const MILLIS: PgName = {
  must: 'a whole number of milliseconds, 0 or more',
  check: isWhole,
  text: (millis: number) => String(Math.ceil(millis / 1000)),
}
const LIMIT: PgName = {
  must: `${MILLIS.must}, or false`,
  check: (value) => value === false || isWhole(value),
}

/** Every name of pg's. */
export const pgNames: { readonly [K in keyof PgParameters]-?: PgName } = {
  connectionString: TEXT,
  database: { ...TEXT, keyword: 'dbname' },
  password: {
    must: 'a string or a function',
    check: (value) => typeof value === 'string' || isFunction(value),
    keyword: 'password',
  },
  ssl: {
    must: 'a boolean or an object of TLS options',
    check: (value) => typeof value === 'boolean' || isObject(value),
  },
  types: { must: 'an object with getTypeParser', check: isObject },
  stream: { must: 'a stream or a function', check: (value) => isObject(value) || isFunction(value) },
  keepAlive: { ...FLAG, keyword: 'keepalives', text: (on: boolean) => (on ? '1' : '0') },
  keepAliveInitialDelayMillis: { ...MILLIS, keyword: 'keepalives_idle' },
  connectionTimeoutMillis: { ...MILLIS, keyword: 'connect_timeout' },
  statement_timeout: LIMIT,
  query_timeout: LIMIT,
  lock_timeout: LIMIT,
  idle_in_transaction_session_timeout: LIMIT,
  enableChannelBinding: {
    ...FLAG,
    keyword: 'channel_binding',
    text: (on: boolean) => (on ? 'prefer' : 'disable'),
  },
  scramMaxIterations: { must: 'a whole number, 0 or more', check: isWhole },
}

/** Every name that a connection parameter may have, libpq's and pg's. */
export const PARAMETER_NAMES: ReadonlySet<string> = new Set([...keywords.keys(), ...Object.keys(pgNames)])

/** Whether libpq or pg knows a connection parameter by this name. */
export function isParameter(name: string): boolean {
  return PARAMETER_NAMES.has(name)
}
