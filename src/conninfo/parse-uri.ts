import { ConninfoError } from '../errors.js'
import { isKeyword } from './keywords.js'
import { percentDecode } from './percent-decode.js'
import { MASK, quoteName } from './quote.js'

/** How a connection URI begins. */
const SCHEME = /^(?:postgresql|postgres):\/\//

/** Whether a connection string is a URI (else it is a keyword/value string). */
export function isUri(conninfo: string): boolean {
  return SCHEME.test(conninfo)
}

/** Where the parts of a URI stand in it: `[start, end)` of each, before percent-decoding. */
export interface UriParts {
  readonly user: string
  readonly password: string
  readonly hosts: string
  readonly ports: string
  readonly database: string
  /** What follows the `?`; null when there is none. */
  readonly query: string | null
}

/**
 * The parameters that a connection URI gives.
 *
 * @see PostgreSQL manual, "Connection URIs" (libpq)
 * @throws ConninfoError for what libpq refuses
 */
export function parseUri(uri: string): Map<string, string> {
  const parts = splitUri(uri)
  const found = new Map<string, string>()
  for (const [keyword, text] of [
    ['user', parts.user],
    ['password', parts.password],
    ['host', parts.hosts],
    ['port', parts.ports],
    ['dbname', parts.database],
  ] as const) {
    if (text !== '') found.set(keyword, percentDecode(text))
  }
  if (parts.query !== null) parseQuery(parts.query, found)
  return found
}

/** A URI cut into its parts, still percent-encoded. */
export function splitUri(uri: string): UriParts {
  let rest = uri.replace(SCHEME, '')
  let user = ''
  let password = ''
  const login = /^([^@/]*)@/.exec(rest)
  if (login !== null) {
    const [, credentials = ''] = login
    const colon = credentials.indexOf(':')
    user = colon < 0 ? credentials : credentials.slice(0, colon)
    password = colon < 0 ? '' : credentials.slice(colon + 1)
    rest = rest.slice(credentials.length + 1)
  }
  const { hosts, ports, length } = splitHosts(rest, uri.length - rest.length)
  rest = rest.slice(length)
  const path = /^\/([^?]*)/.exec(rest)
  const question = rest.indexOf('?')
  const query = question < 0 ? null : rest.slice(question + 1)
  return { user, password, hosts, ports, database: path?.[1] ?? '', query }
}

/** `offset` is where the text begins in the URI, for messages. */
function splitHosts(text: string, offset: number): { hosts: string; ports: string; length: number } {
  const hosts: string[] = []
  const ports: string[] = []
  let at = 0
  do {
    if (hosts.length > 0) at += 1
    const host = text[at] === '[' ? bracketed(text, at, offset) : /^[^:/?,]*/.exec(text.slice(at))![0]
    hosts.push(text[at] === '[' ? host.slice(1, -1) : host)
    at += host.length
    const port = /^:([^/?,]*)/.exec(text.slice(at))
    ports.push(port?.[1] ?? '')
    at += port?.[0].length ?? 0
  } while (text[at] === ',')
  return { hosts: hosts.join(','), ports: ports.join(','), length: at }
}

/** The IPv6 address that begins at `at`, with its brackets. */
function bracketed(text: string, at: number, offset: number): string {
  const end = text.indexOf(']', at)
  if (end < 0) {
    throw new ConninfoError('end of string reached when looking for matching "]" in IPv6 host address in URI')
  }
  if (end === at + 1) throw new ConninfoError('IPv6 host address may not be empty in URI')
  const next = text[end + 1]
  if (next !== undefined && !':/?,'.includes(next)) {
    const position = offset + end + 2
    throw new ConninfoError(`unexpected character at position ${position} in URI (expected ":" or "/")`)
  }
  return text.slice(at, end + 1)
}

function parseQuery(query: string, found: Map<string, string>): void {
  let read = 0
  for (const piece of query === '' ? [] : query.replace(/&$/, '').split('&')) {
    const [rawName = '', rawValue, extra] = piece.split('=')
    // A stray "@" means that the "?" may have been a character of the password.
    const shown = query.includes('@') ? MASK : quoteName(rawName, query.slice(0, read))
    if (extra !== undefined) {
      throw new ConninfoError(`extra key/value separator "=" in URI query parameter: "${shown}"`)
    }
    if (rawValue === undefined) {
      throw new ConninfoError(`missing key/value separator "=" in URI query parameter: "${shown}"`)
    }
    store(percentDecode(rawName, shown), percentDecode(rawValue), shown, found)
    read += piece.length + 1
  }
}

function store(name: string, value: string, shown: string, found: Map<string, string>): void {
  // JDBC's spelling, which libpq takes in URIs only.
  if (name === 'ssl' && value === 'true') found.set('sslmode', 'require')
  else if (name === 'requiressl') found.set('sslmode', value.startsWith('1') ? 'require' : 'prefer')
  else if (isKeyword(name)) found.set(name, value)
  else throw new ConninfoError(`invalid URI query parameter: "${shown}"`)
}
