import { ConninfoError } from '../errors.js'
import { storeKeyword } from './keywords.js'
import { quoteName } from './secret.js'

/** One `keyword = value` of a connection string, and where it stands. */
interface Pair {
  readonly name: string
  readonly value: string
  readonly start: number
  /** Where the value begins, its opening quote included. */
  readonly valueStart: number
  /** Just behind the value, its closing quote included. */
  readonly end: number
}

// Sticky, so that a long string is read in one pass.
const SPACES = /[ \t\n\v\f\r]*/y
const NAME = /[^= \t\n\v\f\r]*/y
const QUOTED = /'((?:[^'\\]+|\\[^])*)\\?('?)/y
const BARE = /((?:[^ \t\n\v\f\r\\]+|\\[^])*\\?)/y

function match(pattern: RegExp, text: string, at: number): RegExpExecArray {
  pattern.lastIndex = at
  return pattern.exec(text)!
}

function skipSpaces(text: string, at: number): number {
  return at + match(SPACES, text, at)[0].length
}

/**
 * The pairs of a keyword/value string, one after the other; whether the keywords are known is not looked at.
 *
 * @see PostgreSQL manual, "Keyword/Value Connection Strings" (libpq)
 * @throws ConninfoError when the next pair is malformed
 */
export function* readPairs(text: string): Generator<Pair, void, undefined> {
  let at = skipSpaces(text, 0)
  while (at < text.length) {
    const pair = readPair(text, at)
    yield pair
    at = skipSpaces(text, pair.end)
  }
}

function readPair(text: string, start: number): Pair {
  const name = match(NAME, text, start)[0]
  const equals = skipSpaces(text, start + name.length)
  if (text[equals] !== '=') {
    const shown = quoteName(name, text.slice(0, start))
    throw new ConninfoError(`missing "=" after "${shown}" in connection info string`)
  }
  const valueStart = skipSpaces(text, equals + 1)
  const isQuoted = text[valueStart] === "'"
  const [all, raw = '', closing] = match(isQuoted ? QUOTED : BARE, text, valueStart)
  if (isQuoted && closing === '') {
    throw new ConninfoError('unterminated quoted string in connection info string')
  }
  // A backslash takes the next character as it is; one at the very end stands for nothing.
  return { name, value: raw.replace(/\\([^]?)/g, '$1'), start, valueStart, end: valueStart + all.length }
}

/**
 * The parameters that a keyword/value string gives; the last of several wins.
 *
 * @throws ConninfoError for what libpq refuses
 */
export function parseKeywordValue(text: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const { name, value, start } of readPairs(text)) {
    if (storeKeyword(found, name, value)) continue
    throw new ConninfoError(`invalid connection option "${quoteName(name, text.slice(0, start))}"`)
  }
  return found
}
