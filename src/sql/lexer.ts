/**
 * A small reader of PostgreSQL's lexical structure (manual, chapter "Lexical Structure"): it knows quotes, dollar
 * quotes, comments, names and numbers, and passes on one token after the other.
 */

/**
 * - `word`: a key word or an unquoted name, in upper case.
 * - `name`: a name in double quotes, without them.
 * - `string`: a string, without its quotes. `escaped`: one in which backslashes may stand for other characters.
 * - `number`: a number, or a parameter.
 * - `symbol`: any other character.
 */
export type TokenKind = 'word' | 'name' | 'string' | 'escaped' | 'number' | 'symbol'

type OnToken = (kind: TokenKind, text: string) => void

/**
 * Reads a text to its end and passes its tokens on, without comments and white space. Gives false where it could not be read with certainty: a quote or a comment never ends, or
 * where a string ends hinges on a setting.
 */
export function readTokens(text: string, onToken: OnToken): boolean {
  let certain = true
  let i = 0
  while (i < text.length) {
    const char = text.charCodeAt(i)
    const gap = isSpace(char) ? i + 1 : skipComment(text, i, char)
    const end = gap === i ? tokenEnd(text, i, char) : gap
    if (end < 0) return false
    if (gap === i) {
      // With standard_conforming_strings off a backslash escapes the quote, and the string ends elsewhere.
      if (char === QUOTE && text.slice(i, end).includes("\\'")) certain = false
      passOn(text, i, end, char, onToken)
    }
    i = end
  }
  return certain
}

/** What stands for a token where only its kind counts, and the words and symbols themselves. */
export function markOf(kind: TokenKind, token: string): string {
  if (kind === 'word' || kind === 'symbol') return token
  return kind === 'name' ? '"' : kind === 'number' ? '0' : "'"
}

/** Where the token that begins at `i` ends; -1 where it never does. */
function tokenEnd(text: string, i: number, char: number): number {
  if (isEscapeString(text, i, char)) return skipQuoted(text, i + 1, QUOTE, true)
  if (isWordStart(char)) return wordEnd(text, i)
  if (isDigit(char)) return numberEnd(text, i)
  if (char === QUOTE || char === DOUBLE_QUOTE) return skipQuoted(text, i, char, false)
  return char === DOLLAR ? skipDollarQuoted(text, i) : i + 1
}

function passOn(text: string, i: number, end: number, char: number, onToken: OnToken): void {
  if (isEscapeString(text, i, char)) onToken('escaped', text.slice(i + 2, end - 1))
  else if (isWordStart(char)) onToken('word', text.slice(i, end).toUpperCase())
  else if (isDigit(char)) onToken('number', '')
  else if (char === QUOTE) {
    // U&'d\0061t': the ampersand stands right before the quote.
    onToken(text.charCodeAt(i - 1) === AMPERSAND ? 'escaped' : 'string', text.slice(i + 1, end - 1))
  } else if (char === DOUBLE_QUOTE) onToken('name', text.slice(i + 1, end - 1).replaceAll('""', '"'))
  else if (char === DOLLAR) onToken(end > i + 1 ? 'string' : 'number', text.slice(i, end))
  else onToken('symbol', text[i]!)
}

const QUOTE = 39
const DOUBLE_QUOTE = 34
const DOLLAR = 36
const AMPERSAND = 38
const MINUS = 45
const SLASH = 47
const LETTER_E = 101

function isSpace(char: number): boolean {
  return char === 32 || (char >= 9 && char <= 13)
}

function isDigit(char: number): boolean {
  return char >= 48 && char <= 57
}

function isWordStart(char: number): boolean {
  return (char >= 65 && char <= 90) || (char >= 97 && char <= 122) || char === 95 || char >= 128
}

/** `E'…'`, in which backslashes always count. */
function isEscapeString(text: string, i: number, char: number): boolean {
  return (char | 32) === LETTER_E && text.charCodeAt(i + 1) === QUOTE
}

function wordEnd(text: string, from: number): number {
  let i = from + 1
  while (i < text.length) {
    const char = text.charCodeAt(i)
    if (!isWordStart(char) && !isDigit(char) && char !== DOLLAR) break
    i++
  }
  return i
}

/** Digits only: what may follow them (a point, an exponent) does not matter here. */
function numberEnd(text: string, from: number): number {
  let i = from + 1
  while (i < text.length && isDigit(text.charCodeAt(i))) i++
  return i
}

/** The index behind the comment that begins at `i`; `i` itself where there is none; -1 where it never ends. */
function skipComment(text: string, i: number, char: number): number {
  if (char !== MINUS && char !== SLASH) return i
  if (text.startsWith('--', i)) {
    const end = text.slice(i).search(/[\n\r]/)
    return end < 0 ? text.length : i + end
  }
  if (!text.startsWith('/*', i)) return i
  let depth = 0
  while (i < text.length) {
    if (text.startsWith('/*', i)) {
      depth++
      i += 2
    } else if (text.startsWith('*/', i)) {
      depth--
      i += 2
      if (depth === 0) return i
    } else i++
  }
  return -1
}

/** The index behind the quoted text that begins at `i`; a doubled quote is one of its characters. */
function skipQuoted(text: string, i: number, quote: number, backslashes: boolean): number {
  for (i++; i < text.length; i++) {
    const char = text.charCodeAt(i)
    if (backslashes && char === 92) i++
    else if (char === quote) {
      if (text.charCodeAt(i + 1) !== quote) return i + 1
      i++
    }
  }
  return -1
}

/** The index behind `$tag$…$tag$`, or behind the dollar of a parameter. */
function skipDollarQuoted(text: string, i: number): number {
  const tag = /^\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/.exec(text.slice(i, i + 70))?.[0]
  if (tag === undefined) return i + 1
  const end = text.indexOf(tag, i + tag.length)
  return end < 0 ? -1 : end + tag.length
}
