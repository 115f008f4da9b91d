/** Names that are none of ours: what was meant by them, and where they belong. */
import { OPTION_NAMES } from '../options.js'
import { didYouMean } from '../util/nearest-name.js'
import { PARAMETER_NAMES } from './parameters.js'

/** What people write, and what libpq calls it. */
const OTHER_NAMES: ReadonlyMap<string, string> = new Map([
  ['database', 'dbname'],
  ['db', 'dbname'],
  ['username', 'user'],
  ['server', 'host'],
  ['hostname', 'host'],
  ['passwd', 'password'],
  ['pwd', 'password'],
  ['ssl', 'sslmode'],
  ['sslca', 'sslrootcert'],
  ['timeout', 'connect_timeout'],
  ['connecttimeout', 'connect_timeout'],
  ['connect_timeout_ms', 'connect_timeout'],
  ['statement_timeout', 'options=-cstatement_timeout=…'],
  ['search_path', 'options=-csearch_path=…'],
  ['schema', 'options=-csearch_path=…'],
])

/** Options of `pg.Pool` that have no meaning for one connection, and what is there instead. */
const POOL_OPTIONS: ReadonlyMap<string, string> = new Map([
  ...['max', 'min', 'poolSize', 'maxUses', 'Client', 'Promise'].map((name) => [name, ''] as const),
  ['maxLifetimeSeconds', ', or give maxLifetimeMillis in the second argument'],
  ['log', ', and listen to the events'],
  ['verify', ', or give onConnect in the second argument'],
])

export function keywordMeantBy(name: string): string | undefined {
  return OTHER_NAMES.get(name.toLowerCase())
}

/**
 * The end of a message about an unknown connection parameter: where it belongs, or what was meant. Empty where nothing
 * comes to mind.
 */
export function explainStrayParameter(name: string): string {
  if (OPTION_NAMES.has(name)) return '; it is an option of the manager: give it in the second argument'
  const meant = keywordMeantBy(name)
  if (meant !== undefined) return `; did you mean "${meant}"?`
  return explainPoolOption(name) ?? didYouMean(name, PARAMETER_NAMES)
}

/** The same of an option of the manager; undefined where it is neither a connection parameter nor a pool's. */
export function explainStrayOption(name: string): string | undefined {
  if (PARAMETER_NAMES.has(name)) return '; it is a connection parameter: give it in the first argument'
  return explainPoolOption(name)
}

/** The same of an option of a pool; undefined where it is none. */
export function explainPoolOption(name: string): string | undefined {
  const instead = POOL_OPTIONS.get(name)
  if (instead === undefined) return undefined
  return `; it is an option of a pool, and here is one connection: leave it out${instead}`
}
