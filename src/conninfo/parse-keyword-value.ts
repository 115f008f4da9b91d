import { ConninfoError } from '../errors.js'
import { isKeyword } from './keywords.js'
import { quoteName } from './quote.js'

/** One `keyword = value` of a connection string, and where it stands. */
export interface Pair {
  readonly name: string
  readonly value: string
  /** Where the keyword begins. */
  readonly start: number
  /** Where the value begins, its opening quote included. */
  readonly valueStart: number
  /** Just behind the value, its closing quote included. */
  readonly end: number
}

// Sticky, so that a long string is read in one pass.
const SPACES = /[ \t\n\v\f\r]*/y
const NAME = /[^= \t\n\v\f\r]*/y
const QUOTED = /'((?:[^'\\]+|\\[^])*)(\\?)('?)/y
const BARE = /(?:[^ \t\n\v\f\r\\]+|\\[^])*\\?/y

function match(pattern: RegExp, text: string, at: number): RegExpExecArray {
  pattern.lastIndex = at
  return pattern.exec(text)!
}

/**
 * The pairs of a keyword/value string, one after the other; whether the keywords are known is not looked at.
 *
 * @see PostgreSQL manual, "Keyword/Value Connection Strings" (libpq)
 * @throws ConninfoError when the next pair is malformed
 */
export function* readPairs(text: string): Generator<Pair, void, undefined> {
  let at = match(SPACES, text, 0)[0].length
  while (at < text.length) {
    const pair = readPair(text, at)
    yield pair
    at = pair.end + match(SPACES, text, pair.end)[0].length
  }
}

function readPair(text: string, start: number): Pair {
  const name = match(NAME, text, start)[0]
  let at = start + name.length
  at += match(SPACES, text, at)[0].length
  if (text[at] !== '=') {
    const shown = quoteName(name, text.slice(0, start))
    throw new ConninfoError(`missing "=" after "${shown}" in connection info string`)
  }
  const valueStart = at + 1 + match(SPACES, text, at + 1)[0].length
  const { value, end } = text[valueStart] === "'" ? quoted(text, valueStart) : bare(text, valueStart)
  return { name, value, start, valueStart, end }
}

function quoted(text: string, at: number): { value: string; end: number } {
  const [all, inner = '', , closing] = match(QUOTED, text, at)
  if (closing !== "'") throw new ConninfoError('unterminated quoted string in connection info string')
  return { value: unescape(inner), end: at + all.length }
}

function bare(text: string, at: number): { value: string; end: number } {
  const [all] = match(BARE, text, at)
  return { value: unescape(all), end: at + all.length }
}

/** A backslash takes the next character as it is; one at the very end stands for nothing. */
function unescape(raw: string): string {
  return raw.replace(/\\([^]?)/g, '$1')
}

/**
 * The parameters that a keyword/value string gives; the last of several wins.
 *
 * @throws ConninfoError for what libpq refuses
 */
export function parseKeywordValue(text: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const { name, value, start } of readPairs(text)) {
    if (name === 'requiressl') found.set('sslmode', value.startsWith('1') ? 'require' : 'prefer')
    else if (isKeyword(name)) found.set(name, value)
    else throw new ConninfoError(`invalid connection option "${quoteName(name, text.slice(0, start))}"`)
  }
  return found
}
