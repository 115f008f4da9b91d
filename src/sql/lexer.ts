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

/** `at`: where a symbol stands in the text. */
type OnToken = (kind: TokenKind, text: string, at?: number) => void

const QUOTE = 39
const DOUBLE_QUOTE = 34
const DOLLAR = 36
const AMPERSAND = 38
const LETTER_A = 65
const LETTER_E = 101

/** White space, a comment to the end of its line, the digits of a number (what may follow them does not matter), a word. */
const RUN = /[ \t-\r]+|--[^\n\r]*|\d+|[A-Za-z_\x80-\uffff][\w$\x80-\uffff]*/y

const DOLLAR_TAG = /\$(?:[A-Za-z_\x80-\uffff][\w\x80-\uffff]{0,67})?\$/y

/**
 * Reads a text to its end and passes its tokens on, without comments and white space. Gives false where it could not
 * be read with certainty: a quote or a comment never ends, or where a string ends hinges on a setting.
 */
export function readTokens(text: string, onToken: OnToken): boolean {
  let certain = true
  for (let i = 0, end = 0; i < text.length; i = end) {
    const char = text.charCodeAt(i)
    // `E'…'`, in which backslashes always count.
    const escapes = (char | 32) === LETTER_E && text.charCodeAt(i + 1) === QUOTE
    if (escapes || char === QUOTE || char === DOUBLE_QUOTE) {
      end = quotedEnd(text, escapes ? i + 1 : i, escapes)
      if (end < 0) return false
      // With standard_conforming_strings off a backslash escapes the quote, and the string ends elsewhere.
      if (char === QUOTE && text.slice(i, end).includes("\\'")) certain = false
      if (char === DOUBLE_QUOTE) onToken('name', text.slice(i + 1, end - 1).replaceAll('""', '"'))
      else if (escapes) onToken('escaped', text.slice(i + 2, end - 1))
      // U&'d\0061t': the ampersand stands right before the quote.
      else onToken(text.charCodeAt(i - 1) === AMPERSAND ? 'escaped' : 'string', text.slice(i + 1, end - 1))
    } else if ((end = runEnd(text, i)) > 0) {
      if (char >= LETTER_A) onToken('word', text.slice(i, end).toUpperCase())
      else if (isDigit(char)) onToken('number', '')
    } else if (text.startsWith('/*', i)) {
      end = commentEnd(text, i)
      if (end < 0) return false
    } else if (char === DOLLAR) {
      end = dollarEnd(text, i)
      if (end < 0) return false
      onToken(end > i + 1 ? 'string' : 'number', text.slice(i, end))
    } else {
      end = i + 1
      onToken('symbol', text[i]!, i)
    }
  }
  return certain
}

/** What stands for a token where only its kind counts, and the words and symbols themselves. */
export function markOf(kind: TokenKind, token: string): string {
  if (kind === 'word' || kind === 'symbol') return token
  return kind === 'name' ? '"' : kind === 'number' ? '0' : "'"
}

function isDigit(char: number): boolean {
  return char >= 48 && char <= 57
}

/** Where the `RUN` that begins at `i` ends; 0 where none does. */
function runEnd(text: string, i: number): number {
  RUN.lastIndex = i
  return RUN.test(text) ? RUN.lastIndex : 0
}

/** Where the comment that begins at `i` ends, and those within it; -1 where it never does. */
function commentEnd(text: string, i: number): number {
  const edge = /\/\*|\*\//g
  edge.lastIndex = i
  let depth = 0
  do {
    const found = edge.exec(text)
    if (found === null) return -1
    depth += found[0] === '/*' ? 1 : -1
  } while (depth > 0)
  return edge.lastIndex
}

/** Where the quoted text that begins at `i` ends; a doubled quote is one of its characters. -1 where it never does. */
function quotedEnd(text: string, i: number, backslashes: boolean): number {
  const quote = text.charCodeAt(i)
  for (i++; i < text.length; i++) {
    const char = text.charCodeAt(i)
    if (backslashes && char === 92) i++
    else if (char === quote && text.charCodeAt(++i) !== quote) return i
  }
  return -1
}

/** Where `$tag$…$tag$` ends, or the dollar of a parameter. -1 where it never does. */
function dollarEnd(text: string, i: number): number {
  DOLLAR_TAG.lastIndex = i
  const tag = DOLLAR_TAG.exec(text)?.[0]
  if (tag === undefined) return i + 1
  const end = text.indexOf(tag, i + tag.length)
  return end < 0 ? -1 : end + tag.length
}
