import { isIP } from 'node:net'
import { ConninfoError } from '../errors.js'
import { keywords } from './keywords.js'
import {
  defaultHost,
  findService,
  localUser,
  passwordFromFile,
  socketPath,
  userFiles,
} from './local-files.js'
import type { PgParameters } from './parameters.js'
import { readConninfo, splitConninfo, type GivenConninfo } from './read-conninfo.js'
import { MASK, quoteValue } from './secret.js'

/**
 * Where a value comes from: the connection string, the object of parameters, a function in it, the service file,
 * the environment, the password file, or libpq's defaults.
 */
export type ParameterSource =
  'string' | 'parameters' | 'function' | 'service file' | 'environment' | 'password file' | 'default'

/** A parameter's value, and where it comes from. */
export interface ResolvedParameter {
  /** The value, in clear: of a password too. Empty for a password that a function will give. */
  readonly value: string
  readonly source: ParameterSource
  /** The environment variable, the file, or the key of the object; absent where there is nothing to add. */
  readonly detail?: string
}

/** The parameters that have a value. */
export type Values = ReadonlyMap<string, ResolvedParameter>

export interface Resolution {
  readonly values: Map<string, ResolvedParameter>
  /** What only pg has a name for, and what libpq's text cannot say exactly. */
  readonly driver: PgParameters
}

/**
 * Every parameter that a connection would be opened with, and where its value comes from: what is given, then the
 * service file, the environment, the password file and libpq's defaults.
 *
 * Reads the service file and the password file, and looks for the default socket; connects to nothing. A password
 * file that others can read is not used, and a warning of the process says so.
 *
 * @param conninfo as `ManagedConnection` takes it; nothing given means: everything from the environment and defaults
 * @param env the environment. Default: that of the process
 * @returns libpq's keywords; the password is in clear
 * @throws ConninfoError for what libpq would refuse, without ever quoting a password
 * @see PostgreSQL manual, "Environment Variables", "The Connection Service File", "The Password File" (libpq)
 *
 * @example
 * ```ts
 * import { resolveConninfo } from 'pg-managed-connection/conninfo'
 *
 * const { host, port } = resolveConninfo('postgres:///shop', { PGHOST: 'db.example', PGUSER: 'app' })
 * // host: { value: 'db.example', source: 'environment', detail: 'PGHOST' }
 * // port: { value: '5432', source: 'default' }
 * ```
 */
export function resolveConninfo(
  conninfo?: GivenConninfo,
  env: NodeJS.ProcessEnv = process.env,
): Record<string, ResolvedParameter> {
  const { values } = resolveSources(conninfo, env)
  const [{ host, hostaddr = '', port }] = expandHosts(values)
  if (textOf(values, 'host') === '' && hostaddr === '') values.set('host', { value: host, source: 'default' })
  if (values.get('password')?.source !== 'function' && textOf(values, 'password') === '') {
    const file = textOf(values, 'passfile')
    const [database, user] = [textOf(values, 'dbname'), textOf(values, 'user')]
    const value = passwordFromFile(file, { host: host || hostaddr, port, database, user })
    if (value !== undefined) values.set('password', { value, source: 'password file', detail: file })
  }
  return Object.fromEntries(values)
}

/**
 * Puts together what is given, the service file, the environment and the defaults, the first that has a value
 * winning. The password file is not read yet: what it says depends on the host.
 */
export function resolveSources(conninfo: GivenConninfo, env: NodeJS.ProcessEnv): Resolution {
  const { values, driver } = splitConninfo(readConninfo(conninfo))
  const standIn = (name: string, parameter: ResolvedParameter): void => {
    if (!values.has(name)) values.set(name, parameter)
  }
  const service = values.get('service')?.value ?? env['PGSERVICE']
  if (service !== undefined) {
    const { file, parameters } = findService(service, env)
    for (const [name, value] of parameters) standIn(name, { value, source: 'service file', detail: file })
  }
  for (const [name, { env: variable = '', fallback }] of keywords) {
    const value = env[variable]
    if (value !== undefined) standIn(name, { value, source: 'environment', detail: variable })
    if (name === 'sslmode' && env['PGREQUIRESSL']?.startsWith('1')) {
      standIn(name, { value: 'require', source: 'environment', detail: 'PGREQUIRESSL' })
    }
    if (fallback !== undefined) standIn(name, { value: fallback, source: 'default' })
  }
  if (values.get('sslmode')!.source === 'default' && textOf(values, 'sslrootcert') === 'system') {
    values.set('sslmode', { value: 'verify-full', source: 'default', detail: 'sslrootcert=system' })
  }
  // Given as empty means not given, where libpq has something better to offer.
  if (textOf(values, 'user') === '') values.set('user', { value: localUser(), source: 'default' })
  if (textOf(values, 'dbname') === '') {
    values.set('dbname', { value: textOf(values, 'user'), source: 'default', detail: 'user' })
  }
  if (textOf(values, 'passfile') === '') {
    values.set('passfile', { value: userFiles(env).password, source: 'default' })
  }
  return { values, driver }
}

// ---- reading the values

/** The value of a parameter; empty where it has none. */
export function textOf(values: Values, keyword: string): string {
  return values.get(keyword)?.value ?? ''
}

/**
 * A whole number as libpq reads it: space around it is allowed, and it must fit 32 bits.
 *
 * @throws ConninfoError in libpq's words
 */
export function parseInteger(keyword: string, text: string): number {
  const number = /^[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*$/.test(text) ? Number(text) : NaN
  if (number === (number | 0)) return number
  // A port that is no number may be the rest of a password in a URI that was not percent-encoded.
  const shown = keyword === 'port' && !/^[0-9]*$/.test(text) ? MASK : quoteValue(text)
  throw new ConninfoError(`invalid integer value "${shown}" for connection option "${keyword}"`)
}

/** One of a fixed set of values. Throws a ConninfoError in libpq's words. */
export function parseChoice<T extends string>(keyword: string, text: string, choices: readonly T[]): T {
  const choice = choices.find((candidate) => candidate === text)
  if (choice === undefined) throw new ConninfoError(`invalid ${keyword} value: "${quoteValue(text)}"`)
  return choice
}

/** One entry of the list of hosts. */
export interface HostPlan {
  /** The host as it was given or found: a name, an address, a socket directory; empty with `hostaddr` alone. */
  readonly host: string
  /** The address to use instead of looking the name up. */
  readonly hostaddr?: string
  readonly port: number
  /** The Unix socket, when the host is a directory (`/…`) or an abstract name (`@…`). */
  readonly socket?: string
}

/**
 * The hosts to try, in the order in which they were given.
 *
 * @see PostgreSQL manual, "Specifying Multiple Hosts" (libpq)
 * @throws ConninfoError when the lists do not match, and for a bad port or address
 */
export function expandHosts(values: Values): readonly [HostPlan, ...HostPlan[]] {
  const list = (keyword: string): string[] => {
    const text = textOf(values, keyword)
    return text === '' ? [] : text.split(',')
  }
  const [hosts, addresses, ports] = [list('host'), list('hostaddr'), list('port')]
  const count = Math.max(addresses.length || hosts.length, 1)
  if (hosts.length > 0 && hosts.length !== count) {
    throw new ConninfoError(`could not match ${hosts.length} host names to ${count} hostaddr values`)
  }
  if (ports.length > 1 && ports.length !== count) {
    throw new ConninfoError(`could not match ${ports.length} port numbers to ${count} hosts`)
  }
  const found = new Map<number, string>()
  const plan = (index: number): HostPlan =>
    planHost(hosts[index] ?? '', addresses[index] ?? '', ports[ports.length === 1 ? 0 : index] ?? '', found)
  return [plan(0), ...Array.from({ length: count - 1 }, (_, index) => plan(index + 1))]
}

/** `found` remembers the default host for each port: finding it asks the file system. */
function planHost(given: string, hostaddr: string, portText: string, found: Map<number, string>): HostPlan {
  const port = portText === '' ? 5432 : parseInteger('port', portText)
  if (port < 1 || port > 65535) throw new ConninfoError(`invalid port number: "${quoteValue(portText)}"`)
  if (hostaddr !== '') {
    if (isIP(hostaddr) !== 0) return { host: given, hostaddr, port }
    throw new ConninfoError(`could not parse network address "${quoteValue(hostaddr)}"`)
  }
  if (given === '' && !found.has(port)) found.set(port, defaultHost(port))
  const host = given === '' ? found.get(port)! : given
  if (/^[/@]/.test(host)) return { host, port, socket: socketPath(host, port) }
  if (!host.includes('@')) return { host, port }
  // Nearly always the rest of a password that was not percent-encoded, so it is not shown.
  throw new ConninfoError('could not translate host name "***" to address; write an "@" in a password as %40')
}
