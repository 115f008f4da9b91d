/**
 * A small reader of PostgreSQL's lexical structure (manual, chapter "Lexical Structure"): it knows quotes, dollar
 * quotes, comments, names and numbers, and passes on one token after the other.
 */

/** Is told of each token, in order. Comments and white space are passed over. */
export interface TokenVisitor {
  /** A key word or an unquoted name, in upper case. */
  word(word: string): void
  /** A name in double quotes, without them. */
  quotedName(name: string): void
  /** A string, without its quotes. `escaped`: backslashes in it may stand for other characters. */
  literal(body: string, escaped: boolean): void
  number(): void
  /** Any other character. */
  symbol(char: string): void
}

/**
 * Reads a text to its end. Gives false where it could not be read with certainty: a quote or a comment never ends, or
 * where a string ends hinges on a setting.
 */
export function readTokens(text: string, visitor: TokenVisitor): boolean {
  let certain = true
  let i = 0
  while (i < text.length) {
    const char = text.charCodeAt(i)
    if (isSpace(char)) {
      i++
      continue
    }
    const comment = skipComment(text, i)
    if (comment !== i) {
      if (comment < 0) return false
      i = comment
      continue
    }
    const end = tokenEnd(text, i, char)
    if (end < 0) return false
    // With standard_conforming_strings off a backslash escapes the quote, and the string ends elsewhere.
    if (char === QUOTE && text.slice(i, end).includes("\\'")) certain = false
    passOn(text, i, end, char, visitor)
    i = end
  }
  return certain
}

/** Where the token that begins at `i` ends; -1 where it never does. */
function tokenEnd(text: string, i: number, char: number): number {
  if (isEscapeString(text, i, char)) return skipQuoted(text, i + 1, QUOTE, true)
  if (isWordStart(char)) return wordEnd(text, i)
  if (isDigit(char)) return numberEnd(text, i)
  if (char === QUOTE || char === DOUBLE_QUOTE) return skipQuoted(text, i, char, false)
  return char === DOLLAR ? skipDollarQuoted(text, i) : i + 1
}

function passOn(text: string, i: number, end: number, char: number, visitor: TokenVisitor): void {
  if (isEscapeString(text, i, char)) visitor.literal(text.slice(i + 2, end - 1), true)
  else if (isWordStart(char)) visitor.word(text.slice(i, end).toUpperCase())
  else if (isDigit(char)) visitor.number()
  // U&'d\0061t': the ampersand stands right before the quote.
  else if (char === QUOTE) visitor.literal(text.slice(i + 1, end - 1), text.charCodeAt(i - 1) === AMPERSAND)
  else if (char === DOUBLE_QUOTE) visitor.quotedName(text.slice(i + 1, end - 1).replaceAll('""', '"'))
  else if (char === DOLLAR && end > i + 1) visitor.literal(text.slice(i, end), false)
  else if (char === DOLLAR) visitor.number()
  else visitor.symbol(text[i]!)
}

const QUOTE = 39
const DOUBLE_QUOTE = 34
const DOLLAR = 36
const AMPERSAND = 38
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

/** Digits only: what may follow them (a point, an exponent) matters to nobody here. */
function numberEnd(text: string, from: number): number {
  let i = from + 1
  while (i < text.length && isDigit(text.charCodeAt(i))) i++
  return i
}

/** The index behind the comment that begins at `i`; `i` itself where there is none; -1 where it never ends. */
function skipComment(text: string, i: number): number {
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
