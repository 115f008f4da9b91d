import { expandHosts } from './hosts.js'
import { keywords, type Keyword } from './keywords.js'
import { localUser, userFiles } from './local-defaults.js'
import { parseToMap } from './parse.js'
import { passwordFromFile } from './password-file.js'
import { readConninfo, type GivenConninfo } from './read-conninfo.js'
import { findService } from './service-file.js'
import { splitParameters, type DriverParameters } from './split-parameters.js'
import { textOf } from './values.js'

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

/** Every source of parameters put together. */
export interface Resolution {
  readonly values: Map<string, ResolvedParameter>
  /** What only pg has a name for. */
  readonly driver: DriverParameters
}

/**
 * Puts together what is given, the service file, the environment and the defaults, the first that has a value
 * winning. The password file is not read yet: what it says depends on the host.
 */
export function resolveSources(conninfo: GivenConninfo, env: NodeJS.ProcessEnv): Resolution {
  const { values, driver } = readGiven(conninfo)
  const service = values.get('service')?.value ?? env['PGSERVICE']
  if (service !== undefined) {
    const { file, parameters } = findService(service, env)
    for (const [name, value] of parameters) {
      if (!values.has(name)) values.set(name, { value, source: 'service file', detail: file })
    }
  }
  for (const [name, keyword] of keywords) {
    const parameter = values.get(name) ?? standIn(name, keyword, env)
    if (parameter !== null) values.set(name, parameter)
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

function readGiven(given: GivenConninfo): Resolution {
  const conninfo = readConninfo(given)
  const values = new Map<string, ResolvedParameter>()
  if (conninfo === undefined) return { values, driver: {} }
  if (typeof conninfo === 'string') {
    for (const [name, value] of parseToMap(conninfo)) values.set(name, { value, source: 'string' })
    return { values, driver: {} }
  }
  const split = splitParameters(conninfo)
  for (const [name, value] of split.values) {
    values.set(name, { value, source: 'parameters', detail: split.names.get(name)! })
  }
  if (typeof split.driver.password === 'function') values.set('password', { value: '', source: 'function' })
  return { values, driver: split.driver }
}

/** What the environment, or else libpq's default, gives for a parameter. */
function standIn(name: string, keyword: Keyword, env: NodeJS.ProcessEnv): ResolvedParameter | null {
  const { env: variable = '', fallback } = keyword
  const value = env[variable]
  if (value !== undefined) return { value, source: 'environment', detail: variable }
  if (name === 'sslmode' && env['PGREQUIRESSL']?.startsWith('1')) {
    return { value: 'require', source: 'environment', detail: 'PGREQUIRESSL' }
  }
  return fallback === undefined ? null : { value: fallback, source: 'default' }
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
  const [first] = expandHosts(values)
  if (textOf(values, 'host') === '' && textOf(values, 'hostaddr') === '') {
    values.set('host', { value: first.host, source: 'default' })
  }
  if (values.get('password')?.source !== 'function' && textOf(values, 'password') === '') {
    const file = textOf(values, 'passfile')
    const value = passwordFromFile(file, {
      host: first.host || first.hostaddr!,
      port: first.port,
      database: textOf(values, 'dbname'),
      user: textOf(values, 'user'),
    })
    if (value !== undefined) values.set('password', { value, source: 'password file', detail: file })
  }
  return Object.fromEntries(values)
}
