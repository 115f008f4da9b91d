/**
 * Notes what the meaning of a text hangs on beside its words, and what it may do to the meaning of others: literals
 * that stand for the present, functions of which nothing is known, tables made by a query.
 */
import { isHarmlessFunction } from './harmless-functions.js'
import { markOf, type TokenKind } from './lexer.js'

/** What the server reads as a moment of the present, wherever it stands in a date or a time (manual, "Special Values"). */
const PRESENT = /now|today|tomorrow|yesterday/i

/** A backslash that may begin the code of a letter. */
const LETTER_ESCAPE = /\\[0-7xuU]/

/** Key words that a parenthesis follows without a call. Types and special functions are there, too. */
const NO_CALL = new Set(
  `ALL AND ANY ARRAY AS BETWEEN BIT CASE CAST CHAR CHARACTER COALESCE CONFLICT DEC DECIMAL DISTINCT ELSE EXCEPT EXISTS
  EXTRACT FLOAT FOR FROM GREATEST GROUP GROUPING HAVING ILIKE IN INSERT INTERSECT INTERVAL INTO IS LATERAL LEAST LIKE
  LIMIT MATERIALIZED NOT NULLIF NUMERIC OFFSET ON ONLY OR ORDER OVERLAY POSITION RETURNING ROW SELECT SOME SUBSTRING
  TABLE THEN TIME TIMESTAMP TIMESTAMPTZ TIMETZ TO TREAT TRIM UNION USING VALUES VARBIT VARCHAR WHEN WHERE WINDOW WITH`.split(
    /\s+/,
  ),
)

/** The same, but functions of the user's may have these names. They are key words where no expression begins. */
const NO_CALL_WITHIN = new Set(['BY', 'FILTER', 'JOIN', 'OPERATOR', 'OVER', 'SET', 'SETS', 'VARYING'])

/** The same behind GROUP BY. */
const NO_CALL_BEHIND_BY = new Set(['CUBE', 'ROLLUP'])

/** An expression, or a table's place, begins behind these words; and behind any symbol that closes nothing. */
const BEFORE_EXPRESSION = new Set(
  `ALL AND BETWEEN BY CASE DISTINCT ELSE FROM HAVING IN LATERAL LIMIT NOT OFFSET ON OR RETURNING SELECT THEN WHEN WHERE`.split(
    ' ',
  ),
)
const CLOSING = new Set([')', ']', '"', "'", '0'])

/** Whether a parenthesis behind this word, which stands behind `before`, is none of a call. */
function isNoCall(word: string, before: string): boolean {
  if (NO_CALL_BEHIND_BY.has(word)) return before === 'BY'
  if (!NO_CALL_WITHIN.has(word)) return NO_CALL.has(word)
  return !BEFORE_EXPRESSION.has(before) && (CLOSING.has(before) || /^\w/.test(before))
}

/** What stands before a name whose parenthesis holds columns: a table's, an alias's. */
const BEFORE_COLUMNS = new Set(['INTO', 'AS', 'WITH', 'RECURSIVE', 'COPY', 'TRUNCATE', 'ANALYZE', 'VACUUM'])

export class Meaning {
  /** A literal may stand for the present, which it would keep once it was parsed. */
  namesPresent = false
  /** Calls something of which it is not known what it does. */
  callsUnknown = false
  /** Calls set_config() with a setting that is not known to be harmless. */
  setsSetting = false
  /** SELECT INTO, which has the looks and the tag of a query. */
  createsTable = false
  /** The mark of the token before. */
  #previous = ''
  /** The name that has just ended, by its last part; null where something else stands there. */
  #name: string | null = null
  #schema: string | null = null
  /** What stands before that name. */
  #before = ''
  /** The next token is the setting that `set_config` sets. */
  #awaitsSetting = false

  /** Takes the next token. */
  note(kind: TokenKind, token: string): void {
    const isString = kind === 'string' || kind === 'escaped'
    // With anything but a harmless setting's name in its place it is unknown what is set.
    if (this.#awaitsSetting && !(isString && isHarmlessSetting(token.toLowerCase()))) {
      this.callsUnknown = true
      this.setsSetting = true
    }
    this.#awaitsSetting = false
    if (kind === 'word' || kind === 'name') this.#noteName(kind, token)
    else {
      if (isString) this.#noteLiteral(kind, token)
      if (kind === 'symbol' && token === '(') this.#opens()
      // A name goes on behind a point.
      if (kind !== 'symbol' || token !== '.') this.#name = null
    }
    this.#previous = markOf(kind, token)
  }

  #noteLiteral(kind: 'string' | 'escaped', body: string): void {
    // Neighbouring strings are one to the server, and an escape may stand for any letter: in E'' and U&'' always, in
    // others where standard_conforming_strings is off.
    const hidden = this.#previous === "'" || kind === 'escaped' || LETTER_ESCAPE.test(body)
    if (hidden || PRESENT.test(body)) this.namesPresent = true
  }

  #noteName(kind: 'word' | 'name', token: string): void {
    // INSERT INTO and MERGE INTO fill a table that is there already.
    if (token === 'INTO' && kind === 'word' && !/^(?:INSERT|MERGE)$/.test(this.#previous)) {
      this.createsTable = true
    }
    const goesOn = this.#previous === '.' && this.#name !== null
    this.#schema = goesOn ? this.#name : null
    if (!goesOn) this.#before = this.#previous
    this.#name = kind === 'word' ? token.toLowerCase() : token
  }

  #opens(): void {
    const name = this.#name
    if (name === null || BEFORE_COLUMNS.has(this.#before)) return
    if (this.#schema === null && isNoCall(this.#previous, this.#before)) return
    const builtIn = this.#schema === null || this.#schema === 'pg_catalog'
    if (builtIn && name === 'set_config') this.#awaitsSetting = true
    else if (!builtIn || !isHarmlessFunction(name)) this.callsUnknown = true
  }
}

/** Commands other than queries that leave the meaning of other texts as it is. */
const COMMANDS = new Set([
  ...['ANALYSE', 'ANALYZE', 'CHECKPOINT', 'CLOSE', 'COPY', 'DECLARE', 'FETCH', 'LISTEN', 'LOCK', 'MOVE'],
  ...['NOTIFY', 'SHOW', 'TRUNCATE', 'UNLISTEN', 'VACUUM'],
])

/** Settings that neither the parser nor the reading of a literal looks at. */
const SETTINGS = new Set([
  ...['application_name', 'client_min_messages', 'synchronous_commit', 'statement_timeout', 'lock_timeout'],
  ...['transaction_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout'],
])

/** Whether a statement that begins with these tokens is one of them. An empty text is. */
export function isHarmlessCommand(opening: readonly string[]): boolean {
  const [word] = opening
  if (word === undefined || COMMANDS.has(word)) return true
  return (word === 'SET' || word === 'RESET') && setsHarmless(opening.slice(1))
}

function setsHarmless(tokens: readonly string[]): boolean {
  const [scope, ...others] = tokens
  // SET SESSION CHARACTERISTICS AS TRANSACTION, SET TRANSACTION, SET CONSTRAINTS
  if (scope === 'TRANSACTION' || scope === 'CONSTRAINTS' || others[0] === 'CHARACTERISTICS') return true
  const [name = '', next] = scope === 'LOCAL' || scope === 'SESSION' ? others : tokens
  // A setting of the user's own, as in app.tenant.
  return next === '.' || isHarmlessSetting(name.toLowerCase())
}

/** Whether a setting has no say in what a text means: one of the user's own (`app.tenant`), or one of those above. */
export function isHarmlessSetting(name: string): boolean {
  return name.includes('.') || SETTINGS.has(name)
}
