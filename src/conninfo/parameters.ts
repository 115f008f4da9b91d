import type { Duplex } from 'node:stream'
import type { ConnectionOptions } from 'node:tls'
import { keywords, type KeywordName, type NumericKeyword } from './keywords.js'

/** A password, or a function that is asked for one at each connection attempt that needs it. */
export type Password = string | (() => string | Promise<string>)

/** A stream that is already there, or a function that makes one for each connection attempt. */
export type StreamSource = Duplex | (() => Duplex)

/** pg's way to give type parsers: a function that finds the parser for a type's OID. */
export interface TypeParsers {
  // oxlint-disable-next-line typescript/no-explicit-any -- pg's own signature, which takes any parser
  getTypeParser(oid: number, format?: any): any
}

/** The parameters by libpq's names. */
export type LibpqParameters = {
  readonly [K in Exclude<KeywordName, 'password'>]?:
    (K extends NumericKeyword ? string | number : string) | undefined
}

/** The parameters by pg's own names, where they differ from libpq's. */
export interface PgParameters {
  /** A whole connection string; the other keys must not give the same things again. */
  readonly connectionString?: string | undefined
  /** The database: libpq's `dbname`. Default: the user's name. */
  readonly database?: string | undefined
  /** The password, or an (async) function that is called for each attempt that needs one. */
  readonly password?: Password | undefined
  /**
   * TLS as pg means it: `false` never; `true` always, with the certificate verified against Node's trusted roots;
   * an object: always, with these options of `tls.connect`. libpq's way is `sslmode` and its companions.
   */
  readonly ssl?: boolean | ConnectionOptions | undefined
  /** Type parsers of this connection, instead of pg's global ones. */
  readonly types?: TypeParsers | undefined
  /** A stream to speak over instead of dialing; it is handed to pg untouched. */
  readonly stream?: StreamSource | undefined
  /** TCP keepalives: libpq's `keepalives`. Default: true. */
  readonly keepAlive?: boolean | undefined
  /** Silence before the first keepalive, in milliseconds: libpq's `keepalives_idle`. 0: the system's. Default: 30,000. */
  readonly keepAliveInitialDelayMillis?: number | undefined
  /** Time for each attempt to connect, in milliseconds: libpq's `connect_timeout`. 0 (default): no limit. */
  readonly connectionTimeoutMillis?: number | undefined
  /** The server's `statement_timeout`, in milliseconds. */
  readonly statement_timeout?: number | false | undefined
  /** Time for a statement as the client measures it, in milliseconds: the manager's `statementTimeoutMillis`. */
  readonly query_timeout?: number | false | undefined
  /** The server's `lock_timeout`, in milliseconds. */
  readonly lock_timeout?: number | false | undefined
  /** The server's `idle_in_transaction_session_timeout`, in milliseconds. */
  readonly idle_in_transaction_session_timeout?: number | false | undefined
  /** SCRAM with channel binding where the server offers it: libpq's `channel_binding`. Default: true, as libpq. */
  readonly enableChannelBinding?: boolean | undefined
  /** The most SCRAM iterations a server may ask for; 0: any number. Default: pg's 100 000. */
  readonly scramMaxIterations?: number | undefined
}

/**
 * Where and how to connect, as an object: by libpq's keywords (`host`, `port`, `dbname`, `user`, `password`,
 * `sslmode`, …) or by pg's own names. A thing given under both names is an error, and so is a name that neither
 * knows. What is left out, or undefined, comes from the environment, the service file, the password file and the
 * defaults, as with libpq.
 *
 * @see PostgreSQL manual, "Parameter Key Words" (libpq)
 */
export interface ConnectionParameters extends LibpqParameters, PgParameters {}

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
