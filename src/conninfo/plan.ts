import { ConninfoError } from '../errors.js'
import { expandHosts, type HostPlan } from './hosts.js'
import { keywords } from './keywords.js'
import type { StreamSource, TypeParsers } from './parameters.js'
import type { GivenConninfo } from './read-conninfo.js'
import { parseRequireAuth, type RequireAuth } from './require-auth.js'
import { resolveSources, type Resolution } from './resolve.js'
import { Secret } from './secret.js'
import { planStartup } from './startup-settings.js'
import { planTls, type TlsPlan } from './tls-plan.js'
import { parseChoice, parseInteger, textOf, type Values } from './values.js'

const SESSION_ATTRS = ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'] as const

/** What a session must be like to be taken: libpq's `target_session_attrs`. */
export type TargetSessionAttrs = (typeof SESSION_ATTRS)[number]

/** Where the password comes from: a text, a function, or a password file that is read at each attempt. */
type PasswordSource =
  | { readonly kind: 'text'; readonly secret: Secret }
  | { readonly kind: 'function'; readonly get: () => string | Promise<string> }
  | { readonly kind: 'file'; readonly file: string }

/** Everything needed to open a connection, checked. Nothing in it shows a secret when it is inspected. */
export interface ConnectPlan {
  readonly hosts: readonly [HostPlan, ...HostPlan[]]
  readonly user: string
  readonly database: string
  readonly password: PasswordSource
  /** Time for each attempt (a host's address; name look-up included), in milliseconds; 0: no limit. */
  readonly connectTimeoutMillis: number
  readonly tls: TlsPlan
  readonly targetSessionAttrs: TargetSessionAttrs
  readonly loadBalanceHosts: 'disable' | 'random'
  /** The ways to log in that are allowed; null: any. */
  readonly requireAuth: RequireAuth | null
  readonly channelBinding: 'disable' | 'prefer' | 'require'
  /** What the start-up packet says. */
  readonly startup: Readonly<Record<string, string>>
  /** TCP keepalives, and the silence before the first one, in milliseconds; 0: the system's default. */
  readonly keepAlive: { readonly enabled: boolean; readonly initialDelayMillis: number }
  /** A stream to speak over instead of dialing. */
  readonly stream: StreamSource | undefined
  readonly types: TypeParsers | undefined
  readonly scramMaxIterations: number | undefined
  /** pg's `query_timeout`, in milliseconds, as the default of the manager's option of this name. */
  readonly statementTimeoutMillis: number | undefined
}

/**
 * Turns what the user gave into a plan for opening connections. Reads the service file and looks for the default
 * socket; looks nothing up and connects to nothing. Make the plan again for each opening, so that changed files
 * and variables count.
 *
 * @param conninfo a connection string, an object of parameters, or nothing
 * @param env the environment
 * @throws ConninfoError for anything that libpq refuses, and for what would be weaker here than was asked for
 */
export function planConnection(conninfo?: GivenConninfo, env: NodeJS.ProcessEnv = process.env): ConnectPlan {
  const resolution = resolveSources(conninfo, env)
  const { values, driver } = resolution
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
    password: planPassword(resolution),
    connectTimeoutMillis: driver.connectionTimeoutMillis ?? seconds('connect_timeout', values) ?? 0,
    tls,
    targetSessionAttrs: parseChoice('target_session_attrs', text('target_session_attrs'), SESSION_ATTRS),
    loadBalanceHosts: parseChoice('load_balance_hosts', text('load_balance_hosts'), ['disable', 'random']),
    requireAuth: parseRequireAuth(text('require_auth')),
    channelBinding: planChannelBinding(text('channel_binding'), tls),
    startup: planStartup(values, driver, env),
    keepAlive: {
      enabled: text('keepalives') === '' || parseInteger('keepalives', text('keepalives')) !== 0,
      initialDelayMillis:
        driver.keepAliveInitialDelayMillis ?? seconds('keepalives_idle', values) ?? KEEPALIVE_DELAY_MILLIS,
    },
    stream: driver.stream,
    types: driver.types,
    scramMaxIterations: driver.scramMaxIterations,
    statementTimeoutMillis: driver.query_timeout || undefined,
  }
}

/** By default the system waits for two hours, and for as long a quiet connection whose other end is gone looks well. */
const KEEPALIVE_DELAY_MILLIS = 30_000

/** A number of seconds in milliseconds; libpq takes what is not above zero as "no limit". */
function seconds(keyword: string, values: Values): number | undefined {
  const given = values.get(keyword)
  return given && Math.max(parseInteger(keyword, given.value), 0) * 1000
}

function planPassword({ values, driver }: Resolution): PasswordSource {
  const { password } = driver
  if (typeof password === 'function') return { kind: 'function', get: password }
  const text = textOf(values, 'password')
  if (text !== '') return { kind: 'text', secret: new Secret(text) }
  return { kind: 'file', file: textOf(values, 'passfile') }
}

function planChannelBinding(text: string, tls: TlsPlan): ConnectPlan['channelBinding'] {
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

/** The rank of the version that a parameter names. */
function protocolVersion(keyword: string, values: Values): number | undefined {
  const given = values.get(keyword)
  return given && PROTOCOL_VERSIONS.indexOf(parseChoice(keyword, given.value, PROTOCOL_VERSIONS))
}
