import { ConninfoError } from '../errors.js'
import { readMembers } from '../util/members.js'
import { isKeyword, keywords, type KeywordName } from './keywords.js'
import { explainStrayParameter } from './other-names.js'
import { PARAMETER_NAMES, pgNames, type ConnectionParameters, type PgParameters } from './parameters.js'
import { parseToMap } from './parse.js'
import type { Resolution, ResolvedParameter } from './resolve.js'
import { quoteName } from './secret.js'

export type GivenConninfo = string | URL | ConnectionParameters | undefined

/**
 * Looks at what a user gave, once: a string, or a copy of the parameters that no later change of theirs reaches.
 * Inherited members and getters count, as wherever an object is read member by member.
 *
 * @throws ConninfoError for what is neither; what a getter throws
 */
export function readConninfo(given: GivenConninfo): string | ConnectionParameters | undefined {
  if (given === undefined || typeof given === 'string') return given
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new ConninfoError('the connection parameters must be a string or an object')
  }
  if (given instanceof URL) return given.href
  const members = readMembers(given, (name) => PARAMETER_NAMES.has(name))
  const prototype: object | null = Reflect.getPrototypeOf(given)
  const isPlain = prototype === null || Object.hasOwn(prototype, 'isPrototypeOf')
  if (members.size > 0 || isPlain) return Object.fromEntries(members)
  // A promise, a map, a date: taken for "nothing given", it would lead to a server that nobody meant.
  throw new ConninfoError('the connection parameters are an object without any connection parameter in it')
}

/**
 * Takes what `readConninfo` gives apart into libpq's keywords, and what only pg has a name for.
 *
 * @throws ConninfoError for what libpq refuses, an unknown name, a wrong type, and a thing that is given twice
 */
export function splitConninfo(conninfo: string | ConnectionParameters = {}): Resolution {
  const values = new Map<string, ResolvedParameter>()
  if (typeof conninfo === 'string') {
    for (const [name, value] of parseToMap(conninfo)) values.set(name, { value, source: 'string' })
    return { values, driver: {} }
  }
  const driver: Record<string, unknown> = {}
  const put: Put = (keyword, value, name) => {
    const other = values.get(keyword)
    if (other !== undefined) throw givenTwice(name, other.detail!)
    values.set(keyword, { value, source: 'parameters', detail: name })
  }
  for (const [name, value] of Object.entries(conninfo)) {
    if (value === undefined) continue
    if (name === 'connectionString') putString(value, put)
    else if (Object.hasOwn(pgNames, name)) putPg(name as keyof PgParameters, value, put, driver)
    else if (isKeyword(name)) put(name, keywordText(name, value), name)
    else throw unknownParameter(name)
  }
  if (driver['ssl'] !== undefined) {
    // `ssl` decides by itself what these would.
    const both = [...values].find(([keyword]) => /^ssl(?!negotiation)/.test(keyword))
    if (both !== undefined) throw givenTwice('ssl', both[1].detail!)
  }
  if (typeof driver['password'] === 'function') values.set('password', { value: '', source: 'function' })
  return { values, driver }
}

type Put = (keyword: string, text: string, name: string) => void

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
  if (typeof value !== 'string') driver[name] = value
  if (keyword === undefined) return
  put(keyword, typeof value === 'string' ? checkText(name, value) : (text?.(value as never) ?? ''), name)
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
