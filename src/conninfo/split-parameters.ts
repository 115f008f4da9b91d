import { ConninfoError } from '../errors.js'
import { isKeyword, keywords, type KeywordName } from './keywords.js'
import { explainStrayParameter } from './other-names.js'
import type { ConnectionParameters, PgParameters } from './parameters.js'
import { parseToMap } from './parse.js'
import { pgNames } from './pg-names.js'
import { quoteName } from './quote.js'

/** What only pg has a name for, and what libpq's text cannot say exactly. */
export type DriverParameters = {
  -readonly [K in keyof Omit<PgParameters, 'connectionString' | 'database'>]: Exclude<
    PgParameters[K],
    undefined
  >
}

/** An object of parameters, taken apart. */
export interface SplitParameters {
  /** By libpq's keywords. */
  readonly values: ReadonlyMap<string, string>
  /** The name under which the user gave each keyword. */
  readonly names: ReadonlyMap<string, string>
  readonly driver: DriverParameters
}

/** What `ssl` decides by itself. */
const TLS_KEYWORDS = [...keywords.keys()].filter((name) => /^ssl(?!negotiation)/.test(name))

/** Keywords that may be given as a number although libpq does not insist on one. */
const ALSO_NUMERIC: ReadonlySet<string> = new Set(['port', 'sslcompression', 'sslsni', 'gssdelegation'])

/**
 * Takes an object of parameters apart into libpq's keywords and what only pg knows.
 *
 * @throws ConninfoError for an unknown name, a value of a wrong type, and a thing that is given twice
 */
export function splitParameters(parameters: ConnectionParameters): SplitParameters {
  const values = new Map<string, string>()
  const names = new Map<string, string>()
  const driver: Record<string, unknown> = {}
  const put = (keyword: string, text: string | null, name: string) => {
    const other = names.get(keyword)
    if (other !== undefined)
      throw new ConninfoError(`${name} and ${other} give the same thing; give one of them`)
    names.set(keyword, name)
    if (text !== null) values.set(keyword, text)
  }
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined) continue
    if (name === 'connectionString') putString(value, put)
    else if (Object.hasOwn(pgNames, name)) putPg(name as keyof PgParameters, value, put, driver)
    else if (isKeyword(name)) put(name, keywordText(name, value), name)
    else throw unknownParameter(name)
  }
  if (driver['ssl'] !== undefined) refuseTlsKeywords(names)
  return { values, names, driver: driver as DriverParameters }
}

function unknownParameter(name: string): ConninfoError {
  const shown = quoteName(name, '')
  // What is not shown may be a part of a password, and must not be told by what is like it either.
  const hint = shown === name ? explainStrayParameter(name) : ''
  return new ConninfoError(`invalid connection option "${shown}"${hint}`)
}

type Put = (keyword: string, text: string | null, name: string) => void

function putString(value: unknown, put: Put): void {
  if (typeof value !== 'string') throw new ConninfoError('connectionString must be a string')
  for (const [keyword, text] of parseToMap(value)) put(keyword, text, `${keyword} in connectionString`)
}

function putPg(name: keyof PgParameters, value: unknown, put: Put, driver: Record<string, unknown>): void {
  const { must, check, keyword, text } = pgNames[name]
  if (!check(value)) throw new ConninfoError(`${name} must be ${must}`)
  if (keyword !== undefined) {
    const said = typeof value === 'string' ? value : (text?.(value as never) ?? null)
    put(keyword, said === null ? null : checkText(name, said), name)
  }
  if (typeof value !== 'string') driver[name] = value
}

function keywordText(name: KeywordName, value: unknown): string {
  const numeric = keywords.get(name)?.integer === true || ALSO_NUMERIC.has(name)
  if (numeric && typeof value === 'number' && Number.isSafeInteger(value)) return String(value)
  if (typeof value !== 'string') {
    throw new ConninfoError(`${name} must be a string${numeric ? ' or a whole number' : ''}`)
  }
  return checkText(name, value)
}

function checkText(name: string, text: string): string {
  if (text.includes('\0')) throw new ConninfoError(`${name} contains a zero byte`)
  return text
}

function refuseTlsKeywords(names: ReadonlyMap<string, string>): void {
  const both = TLS_KEYWORDS.find((keyword) => names.has(keyword))
  if (both === undefined) return
  throw new ConninfoError(`ssl and ${names.get(both)} give the same thing; give one of them`)
}
