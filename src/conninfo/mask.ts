import { isKeyword, keywords } from './keywords.js'
import type { ConnectionParameters } from './parameters.js'
import { isUri, parseUri, readPairs } from './parse.js'
import { splitConninfo } from './read-conninfo.js'
import { isPlainWord, MASK, mayHoldSecret } from './secret.js'
import { splitUri } from './uri-parts.js'

/**
 * A connection string as the user wrote it, or an object as a keyword/value string, with `***` for every password.
 * Never throws; where the input cannot be understood, it hides too much rather than too little.
 */
export function describeConninfo(conninfo?: string | ConnectionParameters): string {
  try {
    if (conninfo === undefined) return 'postgres://'
    if (typeof conninfo !== 'string') return describeParameters(conninfo)
    return isUri(conninfo) ? describeUri(conninfo) : describeKeywordValue(conninfo)
  } catch {
    return MASK
  }
}

/** Where a database may be given as a whole connection string, and a part of a password may have gone astray. */
const FREE_TEXT: ReadonlySet<string> = new Set(['options', 'dbname', 'host', 'port'])

/** Whether a parameter's value must be hidden: it is a secret, or looks as if it held one. */
export function mustHide(keyword: string, value: string): boolean {
  if (keywords.get(keyword)?.secret) return true
  return FREE_TEXT.has(keyword) ? mayHoldSecret(value) : value.includes('://')
}

function describeParameters(parameters: ConnectionParameters): string {
  const { values } = splitConninfo(parameters)
  return [...values].map(([keyword, { value }]) => `${keyword}=${describeValue(keyword, value)}`).join(' ')
}

function describeValue(keyword: string, value: string): string {
  if (mustHide(keyword, value)) return MASK
  return /^[^\s'\\]+$/.test(value) ? value : `'${value.replace(/['\\]/g, '\\$&')}'`
}

function describeKeywordValue(text: string): string {
  let shown = ''
  let copied = 0
  let hid = false
  try {
    for (const { name, value, valueStart, end } of readPairs(text)) {
      const known = isKeyword(name) || name === 'requiressl'
      if (!known && (hid || !isPlainWord(name))) return hid ? shown : `${shown}${MASK}`
      const hide = !known || mustHide(name, value)
      shown += hide ? `${text.slice(copied, valueStart)}${MASK}` : text.slice(copied, end)
      hid ||= hide
      copied = end
    }
    return shown + text.slice(copied)
  } catch {
    return hid ? shown : `${shown}${MASK}`
  }
}

function describeUri(uri: string): string {
  const { scheme, login, rest, query } = splitUri(uri)
  try {
    parseUri(uri)
  } catch {
    return scheme + MASK
  }
  const [question, pieces] = [query.slice(0, 1), query.slice(1)]
  return scheme + maskLogin(login + rest) + question + pieces.split('&').map(describePiece).join('&')
}

/**
 * Hides from the first colon to the last `@`: the password, and what went astray of one that was not
 * percent-encoded. Without a login, what follows a colon must look like a port.
 */
function maskLogin(text: string): string {
  const at = text.lastIndexOf('@')
  const colon = text.indexOf(':')
  if (at >= 0) return colon < 0 || colon > at ? text : `${text.slice(0, colon)}:${MASK}${text.slice(at)}`
  return text.replace(/:(?![0-9]*(?:[,/?]|$))[^,/?[\]:]*(?=[,/?]|$)/g, `:${MASK}`)
}

/** One `name=value` of a URI's query. */
function describePiece(piece: string): string {
  const equals = piece.indexOf('=')
  const hide = mustHide(decode(piece.slice(0, equals)), decode(piece.slice(equals + 1)))
  return hide ? `${piece.slice(0, equals)}=${MASK}` : piece
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.trim())
  } catch {
    return text
  }
}
