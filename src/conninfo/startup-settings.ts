import { ConninfoError } from '../errors.js'
import { quoteValue } from './quote.js'
import type { DriverParameters } from './split-parameters.js'

type Values = ReadonlyMap<string, { readonly value: string }>

/** Variables that libpq turns into settings of the session. */
const SETTINGS = { PGDATESTYLE: 'datestyle', PGTZ: 'timezone', PGGEQO: 'geqo' } as const

/** pg's limits that travel as settings of the session. */
const LIMITS = ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'] as const

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
  const text = (keyword: string) => values.get(keyword)?.value ?? ''
  checkEncoding(text('client_encoding'))
  const startup: Record<string, string> = { user: text('user'), database: text('dbname') }
  const put = (name: string, value: string) => {
    if (value !== '') startup[name] = value
  }
  put('options', text('options'))
  // An application_name that is given as empty keeps the fallback out, too.
  put('application_name', values.get('application_name')?.value ?? text('fallback_application_name'))
  for (const [variable, setting] of Object.entries(SETTINGS)) {
    const value = env[variable]
    if (value !== undefined && value.toLowerCase() !== 'default') startup[setting] = value
  }
  for (const limit of LIMITS) {
    if (driver[limit]) put(limit, String(driver[limit]))
  }
  return startup
}

/** Results are decoded as UTF-8, so any other encoding would garble them. */
function checkEncoding(encoding: string): void {
  if (/^(?:|auto|utf-?8|unicode)$/i.test(encoding)) return
  throw new ConninfoError(`client_encoding "${quoteValue(encoding)}" is not supported; only UTF8 is`)
}
