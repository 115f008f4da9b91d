/**
 * What a statement's text is, as far as it matters for how it may travel. Where the reader is not certain it says
 * `'several'`, which is always safe because such a text travels alone.
 */
import { markOf, readTokens, type TokenKind } from './lexer.js'
import { isHarmlessCommand, Meaning } from './meaning.js'

/**
 * - `plain`: one SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, TABLE or WITH. May be pipelined.
 * - `control`: transaction control. Travels alone.
 * - `copy`: COPY. Travels alone, by the simple protocol.
 * - `forget`: DEALLOCATE and DISCARD, which drop prepared statements. Travels alone.
 * - `other`: any other single statement (DDL, SET, CALL…), and an empty one.
 * - `several`: more than one statement, or a text this reader is not certain of. Travels alone.
 */
type StatementKind = 'plain' | 'control' | 'copy' | 'forget' | 'other' | 'several'

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
  /**
   * Its transaction may be followed by another that it begins itself: AND CHAIN, or several statements with transaction
   * control, for all that the reader is certain of.
   */
  readonly chains: boolean
  /** Cannot join an implicit transaction: LOCK TABLE, or a plain text with a keyword that needs a block. */
  readonly blockOnly: boolean
  /**
   * Leaves the meaning of other texts as it is: changes no setting that the parser reads, makes no table that could
   * hide another, and calls nothing of which that is not known.
   */
  readonly harmless: boolean
  /**
   * Does nothing but read: done once more it does nothing else, and nobody sees how often it was done. What a view or an
   * operator of the user's calls is not seen.
   */
  readonly reads: boolean
  /** May undo a LISTEN of the session, by UNLISTEN or by something that runs what is not in the text. */
  readonly mayUnlisten: boolean
  /** Means the same each time that it is parsed, as long as nothing harmful comes in between: may be prepared. */
  readonly preparable: boolean
}

/** What a transaction has to know of a text. */
export type TextFacts = Pick<
  Classified,
  'begins' | 'ends' | 'mayEnd' | 'mayCommit' | 'inParts' | 'chains' | 'reads'
>

/** The facts of a statement that has nothing to do with transaction control. */
export const PLAIN_FACTS: TextFacts = {
  begins: false,
  ends: false,
  mayEnd: false,
  mayCommit: false,
  inParts: false,
  chains: false,
  reads: false,
}

/** Those of BEGIN. */
export const BEGIN_FACTS: TextFacts = { ...PLAIN_FACTS, begins: true }

const PLAIN = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'VALUES', 'TABLE', 'WITH'])
const CONTROL = new Set(['BEGIN', 'START', 'COMMIT', 'END', 'ROLLBACK', 'ABORT', 'SAVEPOINT', 'RELEASE'])
const FORGET = new Set(['DEALLOCATE', 'DISCARD'])
const IN_PARTS = new Set(['CALL', 'DO', 'VACUUM', 'ANALYZE', 'ANALYSE', 'CLUSTER', 'REINDEX'])
/** In a plain statement: data-modifying WITH, row locks, and functions that leave something behind. */
const WRITES = new Set([
  'INSERT',
  'UPDATE',
  'DELETE',
  'MERGE',
  'SHARE',
  'NEXTVAL',
  'SETVAL',
  'SETSEED',
  'SET_CONFIG',
])

/** The server's own functions take locks, notify, end sessions…; a few are known to do nothing of the kind. */
const SERVERS_OWN = /^PG_(?!CATALOG$|SLEEP|TYPEOF$|BACKEND_PID$|GET_|CLASS$)/

function mayWrite(word: string): boolean {
  return WRITES.has(word) || SERVERS_OWN.test(word)
}

/** These run something that is not in the text, or undo LISTEN themselves. */
const MAY_UNLISTEN = new Set(['UNLISTEN', 'DISCARD', 'DO', 'CALL', 'EXECUTE', 'EXPLAIN', 'FETCH', 'MOVE'])

/** Reads one text. Never throws. */
export function classify(text: string): Classified {
  const reader = new TextReader()
  const certain = reader.read(text) && !reader.holdsBody
  const { statements, meaning } = reader
  const first = statements[0] ?? []
  const kind = statements.length > 1 || !certain ? 'several' : kindOf(first, meaning)
  const harmless = isHarmless(kind, first, meaning)
  const controls = isControl(first) || (certain && statements.some(isControl))
  const mayEnd = !certain || statements.some(endsTransaction)
  const begins = (words: ReadonlySet<string>) => statements.some(([word = '']) => words.has(word))
  return {
    kind,
    begins: first[0] === 'BEGIN' || first[0] === 'START',
    ends: statements.length === 1 && endsTransaction(first),
    controls,
    mayEnd,
    mayCommit: !certain || statements.some(commits),
    inParts: /\bCONCURRENTLY\b/i.test(text) || begins(IN_PARTS),
    chains: (kind === 'several' && (controls || mayEnd)) || statements.some(isChained),
    blockOnly: first[0] === 'LOCK',
    harmless,
    reads: kind === 'plain' && harmless && !reader.writes,
    mayUnlisten: meaning.callsUnknown || !certain || begins(MAY_UNLISTEN),
    preparable: kind === 'plain' && harmless && !meaning.namesPresent,
  }
}

/** The first word of each statement in a text, in upper case. */
export function firstWords(text: string): string[] {
  const reader = new TextReader()
  reader.read(text)
  return reader.statements.map(([word = '']) => word)
}

/** The first tokens of a statement: words in upper case, names in double quotes, `'` for a string, `0` for a number. */
type Opening = string[]

/** How many tokens of a statement are kept: enough for `SET SESSION app.tenant =`. */
const OPENING_LENGTH = 5

/** Parts a text into its statements, and notes what their meaning hangs on. */
class TextReader {
  readonly statements: Opening[] = []
  readonly meaning = new Meaning()
  /** A word in it may stand for a change, of a table or of something that no transaction takes back. */
  writes = false
  /** BEGIN ATOMIC: the body of a function, which holds semicolons of its own. */
  holdsBody = false
  #current: Opening | null = null
  #lastWord = ''
  #parentheses = 0

  /** False where the text could not be read with certainty. */
  read(text: string): boolean {
    return readTokens(text, (kind, token) => {
      this.#note(kind, token)
      this.meaning.note(kind, token)
    })
  }

  #note(kind: TokenKind, token: string): void {
    const symbol = kind === 'symbol' ? token : ''
    if (symbol === ';' && this.#parentheses === 0) {
      this.#current = null
      return
    }
    if ((kind === 'word' || kind === 'name') && mayWrite(token.toUpperCase())) this.writes = true
    if (kind === 'word') {
      if (token === 'ATOMIC' && this.#lastWord === 'BEGIN') this.holdsBody = true
      this.#lastWord = token
    }
    if (this.#current === null) this.statements.push((this.#current = []))
    // A leading parenthesis, "(SELECT 1) UNION …", leaves the word after it as the first.
    if (symbol === '(') this.#parentheses++
    else if (symbol === ')') this.#parentheses = Math.max(0, this.#parentheses - 1)
    else if (this.#current.length < OPENING_LENGTH)
      this.#current.push(kind === 'name' ? `"${token}"` : markOf(kind, token))
  }
}

function kindOf(opening: Opening, { setsSetting }: Meaning): StatementKind {
  const [word = ''] = opening
  // It is a SET, whatever it looks like: others' statements are not to follow before it is known what it did.
  if (PLAIN.has(word)) return setsSetting ? 'other' : 'plain'
  if (isControl(opening)) return 'control'
  return word === 'COPY' ? 'copy' : FORGET.has(word) ? 'forget' : 'other'
}

function isHarmless(kind: StatementKind, opening: Opening, meaning: Meaning): boolean {
  if (kind === 'control') return true
  if (kind === 'several' || kind === 'forget' || meaning.callsUnknown) return false
  return kind === 'plain' ? !meaning.createsTable : isHarmlessCommand(opening)
}

function isControl([word = '', next]: Opening): boolean {
  return CONTROL.has(word) || (word === 'PREPARE' && next === 'TRANSACTION')
}

function endsTransaction([word, next, third]: Opening): boolean {
  if (word === 'ROLLBACK' || word === 'ABORT') {
    const toSavepoint = next === 'TO' || ((next === 'WORK' || next === 'TRANSACTION') && third === 'TO')
    return !toSavepoint && next !== 'PREPARED'
  }
  if (word === 'COMMIT') return next !== 'PREPARED'
  return word === 'END' || (word === 'PREPARE' && next === 'TRANSACTION')
}

/** COMMIT AND CHAIN, ROLLBACK WORK AND CHAIN… */
function isChained(opening: Opening): boolean {
  const at = opening.indexOf('CHAIN')
  return endsTransaction(opening) && at > 0 && opening[at - 1] === 'AND'
}

function commits(opening: Opening): boolean {
  return endsTransaction(opening) && opening[0] !== 'ROLLBACK' && opening[0] !== 'ABORT'
}

/**
 * Remembers what texts are, so that each is read once. Bounded by count and by length: long texts are rare
 * and are simply read again.
 */
export class ClassifiedTexts {
  readonly #known = new Map<string, Classified>()

  get(text: string): Classified {
    const known = this.#known.get(text)
    if (known !== undefined) return known
    const fresh = classify(text)
    if (text.length > 4096) return fresh
    if (this.#known.size >= 1024) this.#known.delete(this.#known.keys().next().value!)
    this.#known.set(text, fresh)
    return fresh
  }
}
