import { ConninfoError } from '../errors.js'
import { keywords } from './keywords.js'
import type { PgParameters } from './parameters.js'
import type { GivenConninfo } from './read-conninfo.js'
import { expandHosts, parseChoice, parseInteger, resolveSources, textOf, type Values } from './resolve.js'
import { quoteValue, Secret } from './secret.js'
import { planTls, type TlsPlan } from './tls-plan.js'

const SESSION_ATTRS = ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'] as const

/** What a session must be like to be taken: libpq's `target_session_attrs`. */
export type TargetSessionAttrs = (typeof SESSION_ATTRS)[number]

/** Where the password comes from: a text, a function, or a password file that is read at each attempt. */
type PasswordSource =
  | { readonly kind: 'text'; readonly secret: Secret }
  | { readonly kind: 'function'; readonly get: () => string | Promise<string> }
  | { readonly kind: 'file'; readonly file: string }

/** Everything needed to open a connection, checked. Nothing in it shows a secret when it is inspected. */
export type ConnectPlan = Readonly<ReturnType<typeof planConnection>>

/**
 * Turns what the user gave into a plan for opening connections. Reads the service file and looks for the default
 * socket; looks nothing up and connects to nothing. Make the plan again for each opening, so that changed files
 * and variables count.
 *
 * @param conninfo a connection string, an object of parameters, or nothing
 * @param env the environment
 * @throws ConninfoError for anything that libpq refuses, and for what would be weaker here than was asked for
 */
export function planConnection(conninfo?: GivenConninfo, env: NodeJS.ProcessEnv = process.env) {
  const { values, driver } = resolveSources(conninfo, env)
  const text = (keyword: string) => textOf(values, keyword)
  for (const [name, { value }] of values) {
    if (keywords.get(name)?.number === 'checked') parseInteger(name, value)
  }
  refuseUnsupported(values)
  const tls = planTls(values, driver.ssl, env)
  return {
    hosts: expandHosts(values),
    user: text('user'),
    database: text('dbname'),
    password: planPassword(values, driver),
    /** Time for each attempt (a host's address; name look-up included), in milliseconds; 0: no limit. */
    connectTimeoutMillis: driver.connectionTimeoutMillis ?? seconds('connect_timeout', values) ?? 0,
    tls,
    targetSessionAttrs: parseChoice('target_session_attrs', text('target_session_attrs'), SESSION_ATTRS),
    loadBalanceHosts: parseChoice('load_balance_hosts', text('load_balance_hosts'), ['disable', 'random']),
    /** The ways to log in that are allowed; null: any. */
    requireAuth: parseRequireAuth(text('require_auth')),
    channelBinding: planChannelBinding(text('channel_binding'), tls),
    startup: planStartup(values, driver, env),
    keepAlive: planKeepAlive(values, driver),
    /** A stream to speak over instead of dialing. */
    stream: driver.stream,
    types: driver.types,
    scramMaxIterations: driver.scramMaxIterations,
    /** pg's `query_timeout`, in milliseconds, as the default of the manager's option of this name. */
    statementTimeoutMillis: driver.query_timeout || undefined,
  }
}

/** TCP keepalives, and the silence before the first one, in milliseconds; 0: the system's default. */
function planKeepAlive(values: Values, driver: PgParameters) {
  const given = textOf(values, 'keepalives')
  return {
    enabled: given === '' || parseInteger('keepalives', given) !== 0,
    initialDelayMillis:
      driver.keepAliveInitialDelayMillis ?? seconds('keepalives_idle', values) ?? KEEPALIVE_DELAY_MILLIS,
  }
}

/** By default the system waits for two hours, and for as long a quiet connection whose other end is gone looks well. */
const KEEPALIVE_DELAY_MILLIS = 30_000

/** A number of seconds in milliseconds; libpq takes what is not above zero as "no limit". */
function seconds(keyword: string, values: Values): number | undefined {
  const given = values.get(keyword)
  return given && Math.max(parseInteger(keyword, given.value), 0) * 1000
}

function planPassword(values: Values, { password }: PgParameters): PasswordSource {
  if (typeof password === 'function') return { kind: 'function', get: password }
  const text = textOf(values, 'password')
  if (text !== '') return { kind: 'text', secret: new Secret(text) }
  return { kind: 'file', file: textOf(values, 'passfile') }
}

function planChannelBinding(text: string, tls: TlsPlan) {
  const binding = parseChoice('channel_binding', text, ['disable', 'prefer', 'require'])
  if (binding !== 'require' || tls.mode !== 'disable') return binding
  throw new ConninfoError('channel binding required, but SSL not in use')
}

/** Refuses what would be weaker, or not what was asked for, if it were left out. */
function refuseUnsupported(values: Values): void {
  const text = (keyword: string) => textOf(values, keyword)
  if (parseChoice('gssencmode', text('gssencmode'), ['disable', 'prefer', 'require']) === 'require') {
    throw new ConninfoError('gssencmode value "require" invalid when GSSAPI support is not compiled in')
  }
  if (text('requirepeer') !== '') {
    throw new ConninfoError('requirepeer parameter is not supported on this platform')
  }
  for (const keyword of ['scram_client_key', 'scram_server_key']) {
    if (text(keyword) !== '') throw new ConninfoError(`${keyword} is not supported; give a password`)
  }
  // Nothing needs to be said for what is the case anyway.
  if (!/^(?:|off|false|no|0)$/i.test(text('replication'))) {
    throw new ConninfoError(
      'replication is not supported: such a session takes no statements as others do; use a pg.Client for it',
    )
  }
  const least = protocolVersion('min_protocol_version', values) ?? 0
  if (least > (protocolVersion('max_protocol_version', values) ?? Infinity)) {
    throw new ConninfoError('"min_protocol_version" is greater than "max_protocol_version"')
  }
  // pg speaks version 3.0 only.
  if (least > 0) throw new ConninfoError('min_protocol_version above 3.0 is not supported')
}

const PROTOCOL_VERSIONS = ['3.0', '3.2', 'latest'] as const

function protocolVersion(keyword: string, values: Values): number | undefined {
  const given = values.get(keyword)
  return given && PROTOCOL_VERSIONS.indexOf(parseChoice(keyword, given.value, PROTOCOL_VERSIONS))
}

// ---- the start-up packet

/** Variables that libpq turns into settings of the session. */
const SETTINGS = { PGDATESTYLE: 'datestyle', PGTZ: 'timezone', PGGEQO: 'geqo' } as const

/** pg's limits that travel as settings of the session. */
const LIMITS = ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'] as const

/** The environment's settings of the session, by the variables: `[variable, setting, value]`. */
export function environmentSettings(env: NodeJS.ProcessEnv): [string, string, string][] {
  return Object.entries(SETTINGS).flatMap(([variable, setting]) => {
    const value = env[variable]
    return value === undefined || value.toLowerCase() === 'default' ? [] : [[variable, setting, value]]
  })
}

/**
 * What the start-up packet tells the server: user, database and settings of the session. The encoding is not
 * among them, since pg always asks for UTF8.
 *
 * @see PostgreSQL manual, "Environment Variables" (libpq), "Message Formats", StartupMessage
 * @throws ConninfoError for an encoding other than UTF8
 */
function planStartup(values: Values, driver: PgParameters, env: NodeJS.ProcessEnv): Record<string, string> {
  const text = (keyword: string) => textOf(values, keyword)
  const encoding = text('client_encoding')
  // Results are decoded as UTF-8, so any other encoding would garble them.
  if (!/^(?:|auto|utf-?8|unicode)$/i.test(encoding)) {
    throw new ConninfoError(`client_encoding "${quoteValue(encoding)}" is not supported; only UTF8 is`)
  }
  const startup: Record<string, string> = { user: text('user'), database: text('dbname') }
  if (text('options') !== '') startup['options'] = text('options')
  // An application_name that is given as empty keeps the fallback out, too.
  const name = text(values.has('application_name') ? 'application_name' : 'fallback_application_name')
  if (name !== '') startup['application_name'] = name
  for (const [, setting, value] of environmentSettings(env)) startup[setting] = value
  for (const limit of LIMITS) {
    if (driver[limit]) startup[limit] = String(driver[limit])
  }
  return startup
}

// ---- ways to log in

/** The ways to log in that `require_auth` has names for. `'none'`: the server asked for nothing. */
const AUTH_METHODS = ['password', 'md5', 'gss', 'sspi', 'scram-sha-256', 'oauth', 'none'] as const

export type AuthMethod = (typeof AUTH_METHODS)[number]

/** What this client can do when the server asks for it. */
const SUPPORTED: readonly AuthMethod[] = ['password', 'md5', 'scram-sha-256', 'none']

/**
 * Reads `require_auth`: a list of allowed methods, or of forbidden ones each with a `!`.
 *
 * @returns the text and what it allows; null when everything is allowed
 * @throws ConninfoError for a malformed list, and for one that this client cannot meet
 */
function parseRequireAuth(text: string) {
  if (text === '') return null
  const negative = text.startsWith('!')
  const named = new Set<AuthMethod>()
  for (const item of text.split(',')) {
    const method = parseChoice('require_auth', item.replace(/^!/, ''), AUTH_METHODS)
    if (item.startsWith('!') !== negative) {
      const [what, others] = negative ? ['', 'negative'] : ['negative ', 'non-negative']
      throw new ConninfoError(`${what}require_auth method "${item}" cannot be mixed with ${others} methods`)
    }
    if (named.has(method)) {
      throw new ConninfoError(`require_auth method "${item}" is specified more than once`)
    }
    named.add(method)
  }
  const allowed = new Set(AUTH_METHODS.filter((method) => named.has(method) !== negative))
  if (SUPPORTED.some((method) => allowed.has(method))) return { text, allowed }
  throw new ConninfoError(
    `require_auth value "${text}" cannot be met: this client supports none of its methods`,
  )
}
