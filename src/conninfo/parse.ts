import { ConninfoError } from '../errors.js'
import { isKeyword } from './keywords.js'
import { MASK, quoteName } from './secret.js'

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

/** Stores a value under its keyword, or what the old name `requiressl` means. Gives false for an unknown name. */
function store(found: Map<string, string>, name: string, value: string): boolean {
  if (name === 'requiressl') found.set('sslmode', value.startsWith('1') ? 'require' : 'prefer')
  else if (isKeyword(name)) found.set(name, value)
  else return false
  return true
}

// ---- keyword = value

/**
 * One pair: its name, its value as it is written, and of that what is between quotes, the closing quote, or the whole
 * where it has none. Sticky, so that a long string is read in one pass; it matches always, if only nothing.
 */
const PAIR =
  /[ \t\n\v\f\r]*([^= \t\n\v\f\r]*)[ \t\n\v\f\r]*(?:=[ \t\n\v\f\r]*('((?:[^'\\]+|\\[^])*)\\?('?)|((?:[^ \t\n\v\f\r\\]+|\\[^])*\\?)))?/gy

/** One `keyword = value` of a connection string; its value stands at `valueStart` to `end`, quotes included. */
interface Pair {
  readonly name: string
  readonly value: string
  readonly start: number
  readonly valueStart: number
  readonly end: number
}

/**
 * The pairs of a keyword/value string, one after the other; whether the keywords are known is not looked at.
 *
 * @see PostgreSQL manual, "Keyword/Value Connection Strings" (libpq)
 * @throws ConninfoError when the next pair is malformed
 */
export function* readPairs(text: string): Generator<Pair, void, undefined> {
  for (const match of text.matchAll(PAIR)) {
    const [all, name = '', written, quoted, closing, bare = ''] = match
    const start = match.index
    if (written === undefined) {
      if (name === '') return
      // A word that is no keyword may be anything: a password that was given alone, for example.
      const shown = isKeyword(name) ? quoteName(name, text.slice(0, start)) : MASK
      throw new ConninfoError(`missing "=" after "${shown}" in connection info string`)
    }
    if (closing === '') throw new ConninfoError('unterminated quoted string in connection info string')
    // A backslash takes the next character as it is; one at the very end stands for nothing.
    const value = (quoted ?? bare).replace(/\\([^]?)/g, '$1')
    const end = start + all.length
    yield { name, value, start, valueStart: end - written.length, end }
  }
}

function parseKeywordValue(text: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const { name, value, start } of readPairs(text)) {
    if (store(found, name, value)) continue
    throw new ConninfoError(`invalid connection option "${quoteName(name, text.slice(0, start))}"`)
  }
  return found
}

// ---- URIs

/** How a connection URI begins, and the login with its `@`. */
const SCHEME_AND_LOGIN = /^postgres(?:ql)?:\/\/(?:([^@/:]*)(?::([^@/]*))?@)?/

/** One of the hosts with its port. Sticky, to be read where the last one ended. */
const HOST = /(?:\[([^\]]*)\]|([^:/?,]*))(?::([^/?,]*))?/y

const DATABASE_AND_QUERY = /^(?:\/([^?]*))?(?:\?([^]*))?$/

/** Whether a connection string is a URI (else it is a keyword/value string). */
export function isUri(conninfo: string): boolean {
  return /^postgres(?:ql)?:\/\//.test(conninfo)
}

/**
 * @see PostgreSQL manual, "Connection URIs" (libpq)
 * @throws ConninfoError for what libpq refuses
 */
export function parseUri(uri: string): Map<string, string> {
  const [beginning, user = '', password = ''] = SCHEME_AND_LOGIN.exec(uri)!
  const { host, port, end } = splitHosts(uri, beginning.length)
  const [, dbname = '', query = ''] = DATABASE_AND_QUERY.exec(uri.slice(end))!
  const found = new Map<string, string>()
  for (const [keyword, text] of Object.entries({ user, password, host, port, dbname })) {
    if (text !== '') found.set(keyword, percentDecode(text))
  }
  if (query !== '') parseQuery(query, found)
  return found
}

/** The hosts from `start` on, and their ports: both as lists with commas. */
function splitHosts(uri: string, start: number): { host: string; port: string; end: number } {
  const hosts: string[] = []
  const ports: string[] = []
  let at = start - 1
  do {
    at++
    if (uri[at] === '[') checkBrackets(uri, at)
    HOST.lastIndex = at
    const [all, address, name = '', port = ''] = HOST.exec(uri)!
    hosts.push(address ?? name)
    ports.push(port)
    at += all.length
  } while (uri[at] === ',')
  return { host: hosts.join(','), port: ports.join(','), end: at }
}

function checkBrackets(uri: string, at: number): void {
  const end = uri.indexOf(']', at)
  if (end < 0) {
    throw new ConninfoError('end of string reached when looking for matching "]" in IPv6 host address in URI')
  }
  if (end === at + 1) throw new ConninfoError('IPv6 host address may not be empty in URI')
  if (end + 1 < uri.length && !':/?,'.includes(uri[end + 1]!)) {
    throw new ConninfoError(`unexpected character at position ${end + 2} in URI (expected ":" or "/")`)
  }
}

function parseQuery(query: string, found: Map<string, string>): void {
  let read = 0
  for (const piece of query.replace(/&$/, '').split('&')) {
    const [rawName = '', rawValue, extra] = piece.split('=')
    // A stray "@" means that the "?" may have been a character of the password.
    const shown = query.includes('@') ? MASK : quoteName(rawName, query.slice(0, read))
    if (rawValue === undefined || extra !== undefined) {
      const fault = extra === undefined ? 'missing' : 'extra'
      throw new ConninfoError(`${fault} key/value separator "=" in URI query parameter: "${shown}"`)
    }
    const name = percentDecode(rawName, shown)
    const value = percentDecode(rawValue)
    // JDBC's spelling, which libpq takes in URIs only.
    if (name === 'ssl' && value === 'true') found.set('sslmode', 'require')
    else if (!store(found, name, value)) throw new ConninfoError(`invalid URI query parameter: "${shown}"`)
    read += piece.length + 1
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * A part of a URI with its `%XX` replaced. Spaces around the part are dropped, as libpq does it; spaces inside must be
 * percent-encoded. Tabs and line breaks are characters like any other.
 *
 * @param shown how an error message quotes it
 * @returns the text; where the bytes are not UTF-8 with half a surrogate pair, which no proper text holds
 * @throws ConninfoError for a bad token, `%00` and inner spaces
 */
function percentDecode(part: string, shown: string = MASK): string {
  const trimmed = trimSpaces(part)
  if (trimmed.includes(' ')) {
    throw new ConninfoError(`unexpected spaces found in "${shown}", use percent-encoded spaces (%20) instead`)
  }
  if (!trimmed.includes('%')) return trimmed
  const bytes = trimmed.split(/%([0-9A-Fa-f]{2})/).map((piece, index) => {
    const isCode = index % 2 === 1
    if (!isCode && piece.includes('%')) throw new ConninfoError(`invalid percent-encoded token: "${shown}"`)
    if (isCode && piece === '00') {
      throw new ConninfoError(`forbidden value %00 in percent-encoded value: "${shown}"`)
    }
    return Buffer.from(piece, isCode ? 'hex' : 'utf8')
  })
  const all = Buffer.concat(bytes)
  try {
    return utf8.decode(all)
  } catch {
    return all.toString() + '\udc80'
  }
}

/** Without a regular expression, whose time would grow with the square of the number of spaces. */
function trimSpaces(part: string): string {
  let start = 0
  let end = part.length
  while (part[start] === ' ') start++
  while (end > start && part[end - 1] === ' ') end--
  return part.slice(start, end)
}
