/** Reads what a text says about transactions, and makes the statements of the sandbox's own. */
import { classify, type Classified } from '../sql/classify.js'
import { readTokens } from '../sql/lexer.js'
import { SandboxError } from './error.js'
import type { StatementCall } from '../api/statement.js'

/** A statement of the library's own. It leaves the meaning of other texts as it is. */
export function ownCall(text: string): StatementCall {
  const facts: Classified = { ...classify(text), harmless: true, preparable: false, mayUnlisten: false }
  const wishes = { values: [], name: undefined, rowMode: undefined, types: undefined, binary: false }
  const statement = { text, ...wishes, preparable: false, harmless: true, mayUnlisten: false }
  return {
    statement,
    text: facts,
    limits: { timeoutMillis: 0, signal: undefined },
    extended: false,
    label: null,
    settings: null,
  }
}

/** The statements of a text, where more than one stands in it. */
export function splitStatements(text: string): string[] {
  const ends: number[] = []
  let parentheses = 0
  readTokens(text, (kind, token, at) => {
    if (kind !== 'symbol') return
    if (token === '(') parentheses++
    else if (token === ')') parentheses = Math.max(0, parentheses - 1)
    else if (token === ';' && parentheses === 0) ends.push(at!)
  })
  const starts = [0, ...ends.map((end) => end + 1)]
  return starts.map((start, index) => text.slice(start, ends[index])).filter((part) => hasTokens(part))
}

function hasTokens(text: string): boolean {
  return wordsOf(text).length > 0
}

/** The words of a text, in upper case. */
function wordsOf(text: string): string[] {
  const words: string[] = []
  readTokens(text, (kind, token) => words.push(kind === 'word' ? token : `"${token}"`))
  return words
}

/** What a statement of transaction control asks for. */
export interface Control {
  readonly verb: 'begin' | 'commit' | 'rollback' | 'savepoint'
  readonly modes: string
  readonly chain: boolean
  /** What the server calls it. */
  readonly statement: string
  /** How the server answers it, as pg reads that. */
  readonly tag: string
}

/** Reads a statement that is transaction control. */
export function readControl(text: string): Control {
  const words = wordsOf(text)
  const [first = ''] = words
  const modes = words.join(' ')
  if (words.includes('PREPARED') || first === 'PREPARE') {
    throw new SandboxError('a sandbox has no prepared transactions: nothing in it is ever committed')
  }
  const chain = /\bAND CHAIN\b/.test(modes)
  const read = (verb: Control['verb'], statement: string, tag: string): Control => {
    return { verb, modes: verb === 'begin' ? modes : '', chain, statement, tag }
  }
  if (first === 'BEGIN' || first === 'START') return read('begin', first, first)
  if (first === 'COMMIT' || first === 'END') return read('commit', 'COMMIT AND CHAIN', 'COMMIT')
  if (first === 'SAVEPOINT') return read('savepoint', first, first)
  if (first === 'RELEASE') return read('savepoint', 'RELEASE SAVEPOINT', first)
  const isPart = /^\w+ (?:WORK |TRANSACTION )?TO\b/.test(modes)
  return isPart
    ? read('savepoint', 'ROLLBACK TO SAVEPOINT', 'ROLLBACK')
    : read('rollback', 'ROLLBACK AND CHAIN', 'ROLLBACK')
}

/** What a statement is called that the server refuses where no transaction is open; null for any other. */
export function blockOnly(text: string): string | null {
  if (!/^\W*(?:LOCK|DECLARE)\b|^\s*(?:--|\/\*)/i.test(text)) return null
  const words = wordsOf(text)
  if (words[0] === 'LOCK') return 'LOCK TABLE'
  const holds = words.some((word, at) => word === 'WITH' && words[at + 1] === 'HOLD')
  return words[0] === 'DECLARE' && !holds ? 'DECLARE CURSOR' : null
}

/** The modes of a SET TRANSACTION; null for anything else. */
export function setsTransaction(text: string): string | null {
  if (!/\bSET\b[^]*\bTRANSACTION\b/i.test(text)) return null
  const words = wordsOf(text)
  const start = words[1] === 'LOCAL' ? 2 : 1
  if (words[0] !== 'SET' || words[start] !== 'TRANSACTION' || words.includes(';')) return null
  return words[start + 1] === 'SNAPSHOT' ? null : words.slice(start + 1).join(' ')
}

/** READ ONLY or READ WRITE, among modes. */
export function accessIn(modes: string): string | null {
  return /READ (?:ONLY|WRITE)/i.exec(modes)?.[0] ?? null
}

const LEVELS = ['read uncommitted', 'read committed', 'repeatable read', 'serializable']

/** Throws where the modes of a BEGIN ask for a stronger isolation than the sandbox has. */
export function checkIsolation(modes: string, own: string): void {
  const asked = /ISOLATION LEVEL (READ UNCOMMITTED|READ COMMITTED|REPEATABLE READ|SERIALIZABLE)/i.exec(modes)
  const level = asked?.[1]?.toLowerCase()
  if (level === undefined || LEVELS.indexOf(level) <= LEVELS.indexOf(own)) return
  if (level === 'read committed' && own === 'read uncommitted') return
  throw new SandboxError(
    `the sandbox is one transaction of the isolation level "${own}", so "${level}" cannot be had inside of it; ` +
      `open it with { isolationLevel: '${level}' }`,
  )
}
