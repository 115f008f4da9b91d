import { isUri } from '../conninfo/parse.js'
import { ConninfoError } from '../errors.js'

/** The login and what follows it up to the query, by libpq's reading: a `?` may be part of the login. */
const HEAD = /^.*?:\/\/([^@/]*@)?([^?]*)/s

/**
 * Refuses a URI with an `@` behind the login, such as `postgres://ann:pass/word@host/db`: for libpq, `pass` is a
 * port there and `word@host/db` a database. Whatever were printed about it might be a part of a password.
 *
 * @throws ConninfoError
 */
export function refuseStrayAt(conninfo: string | undefined): void {
  if (conninfo === undefined || !isUri(conninfo)) return
  const [, login = '', rest = ''] = HEAD.exec(conninfo) ?? []
  const at = rest.lastIndexOf('@')
  if (at < 0 || !`${login}${rest.slice(0, at)}`.includes(':')) return
  throw new ConninfoError('the URI has an "@" behind the host, which is probably part of a password')
}
