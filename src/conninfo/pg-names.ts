/** The connection parameters by pg's own names. */
import { keywords, type KeywordName } from './keywords.js'
import type { PgParameters } from './parameters.js'

type Check = (value: unknown) => boolean

const isText: Check = (value) => typeof value === 'string'
const isFlag: Check = (value) => typeof value === 'boolean'
const isObject: Check = (value) => typeof value === 'object' && value !== null
const isFunction: Check = (value) => typeof value === 'function'
const isMillis: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0
const isMillisOrOff: Check = (value) => value === false || isMillis(value)

/** A name of pg's: what its value must be, in words and as a check, and the keyword that means the same. */
interface PgName {
  readonly must: string
  readonly check: Check
  readonly keyword?: KeywordName
  /** The keyword's value that says the same; without it the keyword is only spoken for. */
  readonly text?: (value: never) => string
}

const MILLIS = 'a whole number of milliseconds, 0 or more'
const OFF = `${MILLIS}, or false`

/** Every name of pg's. */
export const pgNames: { readonly [K in keyof PgParameters]-?: PgName } = {
  connectionString: { must: 'a string', check: isText },
  database: { must: 'a string', check: isText, keyword: 'dbname', text: (value: string) => value },
  password: {
    must: 'a string or a function',
    check: (value) => isText(value) || isFunction(value),
    keyword: 'password',
  },
  ssl: { must: 'a boolean or an object of TLS options', check: (value) => isFlag(value) || isObject(value) },
  types: { must: 'an object with getTypeParser', check: isObject },
  stream: { must: 'a stream or a function', check: (value) => isObject(value) || isFunction(value) },
  keepAlive: {
    must: 'a boolean',
    check: isFlag,
    keyword: 'keepalives',
    text: (value: boolean) => (value ? '1' : '0'),
  },
  keepAliveInitialDelayMillis: {
    must: MILLIS,
    check: isMillis,
    keyword: 'keepalives_idle',
    text: wholeSeconds,
  },
  connectionTimeoutMillis: { must: MILLIS, check: isMillis, keyword: 'connect_timeout', text: wholeSeconds },
  statement_timeout: { must: OFF, check: isMillisOrOff },
  query_timeout: { must: OFF, check: isMillisOrOff },
  lock_timeout: { must: OFF, check: isMillisOrOff },
  idle_in_transaction_session_timeout: { must: OFF, check: isMillisOrOff },
  enableChannelBinding: {
    must: 'a boolean',
    check: isFlag,
    keyword: 'channel_binding',
    text: (value: boolean) => (value ? 'prefer' : 'disable'),
  },
  scramMaxIterations: { must: 'a whole number, 0 or more', check: isMillis },
}

/** Every name that a connection parameter may have, libpq's and pg's. */
export const PARAMETER_NAMES: ReadonlySet<string> = new Set([...keywords.keys(), ...Object.keys(pgNames)])

/** Whether libpq or pg knows a connection parameter by this name. */
export function isParameter(name: string): boolean {
  return PARAMETER_NAMES.has(name)
}

function wholeSeconds(millis: number): string {
  return String(Math.ceil(millis / 1000))
}
