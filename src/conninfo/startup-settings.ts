import { ConninfoError } from '../errors.js'
import { quoteValue } from './secret.js'
import type { DriverParameters } from './split-parameters.js'
import { textOf, type Values } from './values.js'

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
export function planStartup(
  values: Values,
  driver: DriverParameters,
  env: NodeJS.ProcessEnv,
): Record<string, string> {
  const encoding = textOf(values, 'client_encoding')
  // Results are decoded as UTF-8, so any other encoding would garble them.
  if (!/^(?:|auto|utf-?8|unicode)$/i.test(encoding)) {
    throw new ConninfoError(`client_encoding "${quoteValue(encoding)}" is not supported; only UTF8 is`)
  }
  const startup: Record<string, string> = {
    user: textOf(values, 'user'),
    database: textOf(values, 'dbname'),
  }
  const options = textOf(values, 'options')
  if (options !== '') startup['options'] = options
  // An application_name that is given as empty keeps the fallback out, too.
  const name = textOf(
    values,
    values.has('application_name') ? 'application_name' : 'fallback_application_name',
  )
  if (name !== '') startup['application_name'] = name
  for (const [, setting, value] of environmentSettings(env)) startup[setting] = value
  for (const limit of LIMITS) {
    if (driver[limit]) startup[limit] = String(driver[limit])
  }
  return startup
}
