import { ConninfoError } from '../errors.js'
import { isKeyword, keywords, type KeywordName } from './keywords.js'
import { explainStrayParameter } from './other-names.js'
import type { ConnectionParameters, PgParameters } from './parameters.js'
import { parseToMap } from './parse.js'
import { pgNames } from './pg-names.js'
import { quoteName } from './secret.js'

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

/**
 * Takes an object of parameters apart into libpq's keywords and what only pg knows.
 *
 * @throws ConninfoError for an unknown name, a value of a wrong type, and a thing that is given twice
 */
export function splitParameters(parameters: ConnectionParameters): SplitParameters {
  const values = new Map<string, string>()
  const names = new Map<string, string>()
  const driver: Record<string, unknown> = {}
  const put: Put = (keyword, text, name) => {
    const other = names.get(keyword)
    if (other !== undefined) throw givenTwice(name, other)
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
  if (driver['ssl'] !== undefined) {
    // `ssl` decides by itself what these would.
    const both = [...names.keys()].find((keyword) => /^ssl(?!negotiation)/.test(keyword))
    if (both !== undefined) throw givenTwice('ssl', names.get(both)!)
  }
  return { values, names, driver: driver as DriverParameters }
}

/** Takes a keyword as given under a name; with null for its text it has no value yet. */
type Put = (keyword: string, text: string | null, name: string) => void

function givenTwice(name: string, other: string): ConninfoError {
  return new ConninfoError(`${name} and ${other} give the same thing; give one of them`)
}

function unknownParameter(name: string): ConninfoError {
  const shown = quoteName(name, '')
  // What is not shown may be a part of a password, so no similar name may be shown either.
  const hint = shown === name ? explainStrayParameter(name) : ''
  return new ConninfoError(`invalid connection option "${shown}"${hint}`)
}

function putString(value: unknown, put: Put): void {
  if (typeof value !== 'string') throw new ConninfoError('connectionString must be a string')
  for (const [keyword, text] of parseToMap(value)) put(keyword, text, `${keyword} in connectionString`)
}

function putPg(name: keyof PgParameters, value: unknown, put: Put, driver: Record<string, unknown>): void {
  const { must, check, keyword, text } = pgNames[name]
  if (!check(value)) throw new ConninfoError(`${name} must be ${must}`)
  if (keyword !== undefined) {
    const said = typeof value === 'string' ? checkText(name, value) : (text?.(value as never) ?? null)
    put(keyword, said, name)
  }
  if (typeof value !== 'string') driver[name] = value
}

function keywordText(name: KeywordName, value: unknown): string {
  const mayBeNumber = keywords.get(name)!.number !== undefined
  if (mayBeNumber && Number.isSafeInteger(value)) return String(value)
  if (typeof value === 'string') return checkText(name, value)
  throw new ConninfoError(`${name} must be a string${mayBeNumber ? ' or a whole number' : ''}`)
}

function checkText(name: string, text: string): string {
  if (text.includes('\0')) throw new ConninfoError(`${name} contains a zero byte`)
  return text
}
