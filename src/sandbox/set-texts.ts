/** Reads what a text sets, and which temporary tables it makes, as far as that is in the text. */
import { readTokens, type TokenKind } from '../sql/lexer.js'

/** A setting that a text sets, in lower case; `session`: it outlives the transaction. */
export interface Setting {
  readonly name: string
  readonly session: boolean
}

const SET = /\b(SET|RESET)\s+(?:(LOCAL|SESSION)\s+)?(?!LOCAL\b|SESSION\b)([A-Za-z_][\w.]*)/gi
const SET_CONFIG = /\bset_config\s*\(\s*(?:'([^']+)'|\$(\d+))/gi

/** Words that follow SET and are no settings; what is said of the transaction ends with it anyhow. */
const NO_SETTING = new Set(['transaction', 'constraints', 'characteristics'])

/** What some settings are called in SET. */
const OTHER_NAMES: Readonly<Record<string, string>> = { time: 'timezone', names: 'client_encoding' }

/** The settings that a text names. One that is called by a parameter is among its `values`. */
export function settingsIn(text: string, values: readonly unknown[]): Setting[] {
  const found: Setting[] = []
  for (const [, , scope, word] of text.matchAll(SET)) {
    const name = word!.toLowerCase()
    if (NO_SETTING.has(name)) continue
    found.push({ name: nameOf(name), session: scope?.toUpperCase() !== 'LOCAL' })
  }
  for (const call of text.matchAll(SET_CONFIG)) {
    const [opening, literal, parameter] = call
    const name = literal ?? values[Number(parameter) - 1]
    if (typeof name !== 'string') continue
    const isLocal = lastArgument(text.slice(call.index + opening.length))
    const value = /^\$\d+/.test(isLocal) ? values[Number(isLocal.slice(1)) - 1] : isLocal
    found.push({
      name: name.toLowerCase(),
      session: /^'?(?:f|false|n|no|off|0)'?(?:::\w+)?$/i.test(String(value)),
    })
  }
  return found
}

function nameOf(word: string): string {
  return OTHER_NAMES[word] ?? word
}

/** The last argument of a call whose first has just been read. */
function lastArgument(rest: string): string {
  let depth = 0
  let last = 0
  for (const { 0: found, index } of rest.matchAll(/'(?:[^']|'')*'|[(),]/g)) {
    if (found === '(') depth++
    else if (found === ')' && depth-- === 0) return rest.slice(last, index).trim()
    else if (found === ',' && depth === 0) last = index + 1
  }
  return ''
}

/** A temporary table, and what a COMMIT does with it. */
export interface TemporaryTable {
  readonly name: string
  readonly onCommit: 'delete rows' | 'drop'
}

/** The table that a statement makes, where COMMIT does something with it. */
export function temporaryTableIn(text: string): TemporaryTable | null {
  if (!/\bON\s+COMMIT\s+(?:DELETE|DROP)\b/i.test(text)) return null
  const tokens: [kind: TokenKind, token: string][] = []
  readTokens(text, (kind, token) => tokens.push([kind, token]))
  const isWord = (at: number, word: string): boolean => tokens[at]?.[0] === 'word' && tokens[at][1] === word
  const table = tokens.findIndex((_, at) => isWord(at, 'TABLE'))
  const onCommit = tokens.findIndex((_, at) => isWord(at, 'ON') && isWord(at + 1, 'COMMIT'))
  if (!isWord(0, 'CREATE') || table < 0 || onCommit < table) return null
  let at = isWord(table + 1, 'IF') ? table + 4 : table + 1
  while (tokens[at + 1]?.[1] === '.') at += 2
  const [kind, token] = tokens[at]!
  const name = kind === 'name' ? token : token.toLowerCase()
  return { name, onCommit: isWord(onCommit + 2, 'DROP') ? 'drop' : 'delete rows' }
}
