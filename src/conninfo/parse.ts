import { ConninfoError } from '../errors.js'
import { parseKeywordValue } from './keyword-value.js'
import { isUri, parseUri } from './uri.js'

/** The parameters that a connection string of either form gives, in a map. */
export function parseToMap(conninfo: string): Map<string, string> {
  if (typeof conninfo !== 'string') throw new ConninfoError('the connection string must be a string')
  // A C string would silently end there.
  if (conninfo.includes('\0')) throw new ConninfoError('the connection string contains a zero byte')
  const found = isUri(conninfo) ? parseUri(conninfo) : parseKeywordValue(conninfo)
  for (const [keyword, value] of found) {
    // libpq would pass the bytes on; a JavaScript string cannot hold them, and the session speaks UTF-8.
    if (/\p{Surrogate}/u.test(value)) throw new ConninfoError(`the value of "${keyword}" is not valid UTF-8`)
  }
  return found
}

/**
 * What a connection string says, as libpq's `PQconninfoParse` reads it: each parameter that the string gives, and
 * nothing from the environment or from files.
 *
 * @param conninfo a URI (`postgres://…`, `postgresql://…`) or a keyword/value string (`host=… dbname=…`)
 * @returns libpq's keywords and their values, unquoted and percent-decoded
 * @throws ConninfoError where libpq refuses the string; the message never quotes a password
 * @see PostgreSQL manual, "Connection Strings" (libpq)
 *
 * @example
 * ```ts
 * import { parseConninfo } from 'pg-managed-connection/conninfo'
 *
 * parseConninfo('postgres://app@db1,db2:5433/shop?target_session_attrs=primary')
 * // { user: 'app', host: 'db1,db2', port: ',5433', dbname: 'shop', target_session_attrs: 'primary' }
 * ```
 */
export function parseConninfo(conninfo: string): Record<string, string> {
  return Object.fromEntries(parseToMap(conninfo))
}
