import { ConninfoError } from '../errors.js'
import { storeKeyword } from './keywords.js'
import { MASK, quoteName } from './secret.js'

/** How a connection URI begins, and the login with its `@`. */
const SCHEME = /^postgres(?:ql)?:\/\//
const SCHEME_AND_LOGIN = /^postgres(?:ql)?:\/\/(?:([^@/:]*)(?::([^@/]*))?@)?/

/** One of the hosts with its port. Sticky, to be read where the last one ended. */
const HOST = /(?:\[([^\]]*)\]|([^:/?,]*))(?::([^/?,]*))?/y

const DATABASE_AND_QUERY = /^(?:\/([^?]*))?(?:\?([^]*))?$/

/** Whether a connection string is a URI (else it is a keyword/value string). */
export function isUri(conninfo: string): boolean {
  return SCHEME.test(conninfo)
}

/**
 * The parameters that a connection URI gives.
 *
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

/** Checks the IPv6 address in brackets that begins at `at`. */
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
    else if (!storeKeyword(found, name, value)) {
      throw new ConninfoError(`invalid URI query parameter: "${shown}"`)
    }
    read += piece.length + 1
  }
}

/** Behind text that is not UTF-8: half of a surrogate pair, which no proper text holds. */
const NOT_UNICODE = '\udc80'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * A part of a URI with its `%XX` replaced. Spaces around the part are dropped, as libpq does it; spaces inside must be
 * percent-encoded. Tabs and line breaks are characters like any other.
 *
 * @param shown how an error message quotes it
 * @returns the text; one with half a surrogate pair when the bytes are not UTF-8
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
    return all.toString() + NOT_UNICODE
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
