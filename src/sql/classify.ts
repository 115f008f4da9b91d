/**
 * What a statement's text is, as far as it matters for how it may travel. A small reader of PostgreSQL's
 * lexical structure (manual, chapter "Lexical Structure"): it knows quotes, dollar quotes and comments, and
 * where it is not certain it says `'several'`, which is always safe because such a text travels alone.
 */

/**
 * - `plain`: one SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, TABLE or WITH. May be pipelined and prepared.
 * - `control`: transaction control. Travels alone.
 * - `copy`: COPY. Travels alone, by the simple protocol.
 * - `forget`: DEALLOCATE and DISCARD, which drop prepared statements. Travels alone.
 * - `other`: any other single statement (DDL, SET, CALL…), and an empty one.
 * - `several`: more than one statement, or a text this reader is not certain of. Travels alone.
 */
export type StatementKind = 'plain' | 'control' | 'copy' | 'forget' | 'other' | 'several'

/** What is known of one text. */
export interface Classified {
  readonly kind: StatementKind
  /** Begins with BEGIN or START TRANSACTION. */
  readonly begins: boolean
  /** Is nothing but COMMIT, END, ROLLBACK (but not ROLLBACK TO), ABORT or PREPARE TRANSACTION. */
  readonly ends: boolean
  /** Holds transaction control, for all that the reader is certain of. */
  readonly controls: boolean
  /** Holds, anywhere, a statement that ends a transaction; or the reader is not certain. */
  readonly mayEnd: boolean
  /** Holds, anywhere, a statement that commits one; or the reader is not certain. */
  readonly mayCommit: boolean
  /** Holds a statement that commits piece by piece where no transaction is open: CALL, DO, VACUUM, CONCURRENTLY… */
  readonly inParts: boolean
  /** Cannot join an implicit transaction: LOCK TABLE, or a plain text with a keyword that needs a block. */
  readonly blockOnly: boolean
}

const PLAIN = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'VALUES', 'TABLE', 'WITH'])
const CONTROL = new Set(['BEGIN', 'START', 'COMMIT', 'END', 'ROLLBACK', 'ABORT', 'SAVEPOINT', 'RELEASE'])
const FORGET = new Set(['DEALLOCATE', 'DISCARD'])
const IN_PARTS = new Set(['CALL', 'DO', 'VACUUM', 'ANALYZE', 'ANALYSE', 'CLUSTER', 'REINDEX'])

/** Reads one text. Never throws. */
export function classify(text: string): Classified {
  const { statements, certain } = split(text)
  const first = statements[0] ?? NO_WORDS
  const begins = first.word === 'BEGIN' || first.word === 'START'
  const kind = statements.length > 1 || !certain ? 'several' : kindOf(first)
  return {
    kind,
    begins,
    ends: statements.length === 1 && endsTransaction(first),
    controls: isControl(first) || (certain && statements.some(isControl)),
    mayEnd: !certain || statements.some(endsTransaction),
    mayCommit: !certain || statements.some(commits),
    inParts: /\bCONCURRENTLY\b/i.test(text) || statements.some(({ word }) => IN_PARTS.has(word)),
    blockOnly: first.word === 'LOCK',
  }
}

/** The first word of each statement in a text, in upper case. */
export function firstWords(text: string): string[] {
  return split(text).statements.map(({ word }) => word)
}

/** The first two words of a statement, in upper case; empty where there is none. */
interface Opening {
  word: string
  next: string
  third: string
}

const NO_WORDS: Opening = { word: '', next: '', third: '' }

function kindOf(opening: Opening): StatementKind {
  if (PLAIN.has(opening.word)) return 'plain'
  if (isControl(opening)) return 'control'
  if (opening.word === 'COPY') return 'copy'
  if (FORGET.has(opening.word)) return 'forget'
  return 'other'
}

function isControl({ word, next }: Opening): boolean {
  return CONTROL.has(word) || (word === 'PREPARE' && next === 'TRANSACTION')
}

function endsTransaction({ word, next, third }: Opening): boolean {
  if (word === 'ROLLBACK' || word === 'ABORT') {
    return (
      next !== 'TO' && !((next === 'WORK' || next === 'TRANSACTION') && third === 'TO') && next !== 'PREPARED'
    )
  }
  if (word === 'COMMIT') return next !== 'PREPARED'
  return word === 'END' || (word === 'PREPARE' && next === 'TRANSACTION')
}

function commits(opening: Opening): boolean {
  return endsTransaction(opening) && opening.word !== 'ROLLBACK' && opening.word !== 'ABORT'
}

/** Splits a text at its semicolons. `certain` is false where a quote never ends or hinges on a setting. */
function split(text: string): { statements: Opening[]; certain: boolean } {
  const statements: Opening[] = []
  let current: Opening | null = null
  let parentheses = 0
  let certain = true
  let last = ''
  let i = 0
  while (i < text.length) {
    const char = text.charCodeAt(i)
    if (isSpace(char)) {
      i++
      continue
    }
    const comment = skipComment(text, i)
    if (comment !== i) {
      if (comment < 0) return { statements, certain: false }
      i = comment
      continue
    }
    if (char === SEMICOLON && parentheses === 0) {
      current = null
      i++
      continue
    }
    if (current === null) statements.push((current = { word: '', next: '', third: '' }))
    if (isWordStart(char)) {
      const end = wordEnd(text, i)
      // E'', U&'' and the like: what a backslash means in them differs, so the quote is looked at here.
      if (text.charCodeAt(end) === QUOTE && end - i === 1 && (char | 32) === LETTER_E) {
        i = skipQuoted(text, end, QUOTE, true)
        if (i < 0) return { statements, certain: false }
        continue
      }
      const word = text.slice(i, end).toUpperCase()
      // In a function's body it holds semicolons of its own.
      if (word === 'ATOMIC' && last === 'BEGIN') certain = false
      last = word
      noteWord(current, word)
      i = end
      continue
    }
    if (char === QUOTE || char === DOUBLE_QUOTE) {
      const end = skipQuoted(text, i, char, false)
      if (end < 0) return { statements, certain: false }
      // With standard_conforming_strings off a backslash escapes the quote, and the string ends elsewhere.
      if (char === QUOTE && text.slice(i, end).includes("\\'")) certain = false
      noteWord(current, '"')
      i = end
      continue
    }
    if (char === DOLLAR) {
      const end = skipDollarQuoted(text, i)
      if (end < 0) return { statements, certain: false }
      i = end
      continue
    }
    if (char === OPEN) parentheses++
    else if (char === CLOSE) parentheses = Math.max(0, parentheses - 1)
    // A leading parenthesis, "(SELECT 1) UNION …", leaves the word after it as the first.
    else noteWord(current, text[i]!)
    i++
  }
  return { statements, certain }
}

function noteWord(opening: Opening, word: string): void {
  if (opening.word === '') opening.word = word
  else if (opening.next === '') opening.next = word
  else if (opening.third === '') opening.third = word
}

const SEMICOLON = 59
const QUOTE = 39
const DOUBLE_QUOTE = 34
const DOLLAR = 36
const OPEN = 40
const CLOSE = 41
const LETTER_E = 101

function isSpace(char: number): boolean {
  return char === 32 || (char >= 9 && char <= 13)
}

function isWordStart(char: number): boolean {
  return (char >= 65 && char <= 90) || (char >= 97 && char <= 122) || char === 95 || char >= 128
}

function wordEnd(text: string, from: number): number {
  let i = from + 1
  while (i < text.length) {
    const char = text.charCodeAt(i)
    if (!isWordStart(char) && !(char >= 48 && char <= 57) && char !== DOLLAR) break
    i++
  }
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

/** The index behind `$tag$…$tag$`, or behind the `$1` of a parameter. */
function skipDollarQuoted(text: string, i: number): number {
  const tag = /^\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/.exec(text.slice(i, i + 70))?.[0]
  if (tag === undefined) return i + 1
  const end = text.indexOf(tag, i + tag.length)
  return end < 0 ? -1 : end + tag.length
}

/**
 * Remembers what texts are, so that each is read once. Bounded by count and by length: long texts are rare
 * and are simply read again.
 */
export class ClassifiedTexts {
  readonly #known = new Map<string, Classified>()
  readonly #limit: number

  constructor(limit = 1024) {
    this.#limit = limit
  }

  get(text: string): Classified {
    const known = this.#known.get(text)
    if (known !== undefined) return known
    const fresh = classify(text)
    if (text.length <= 4096) {
      if (this.#known.size >= this.#limit) this.#known.delete(this.#known.keys().next().value!)
      this.#known.set(text, fresh)
    }
    return fresh
  }
}
