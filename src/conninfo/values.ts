import { ConninfoError } from '../errors.js'
import { MASK, quoteValue } from './secret.js'

/** The parameters that have a value. */
export type Values = ReadonlyMap<string, { readonly value: string }>

/** The value of a parameter; empty where it has none. */
export function textOf(values: Values, keyword: string): string {
  return values.get(keyword)?.value ?? ''
}

/**
 * A whole number as libpq reads it: space around it is allowed, and it must fit 32 bits.
 *
 * @throws ConninfoError in libpq's words
 */
export function parseInteger(keyword: string, text: string): number {
  const number = /^[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*$/.test(text) ? Number(text) : NaN
  if (number === (number | 0)) return number
  // A port that is no number may be the rest of a password in a URI that was not percent-encoded.
  const shown = keyword === 'port' && !/^[0-9]*$/.test(text) ? MASK : quoteValue(text)
  throw new ConninfoError(`invalid integer value "${shown}" for connection option "${keyword}"`)
}

/** One of a fixed set of values. Throws a ConninfoError in libpq's words. */
export function parseChoice<T extends string>(keyword: string, text: string, choices: readonly T[]): T {
  const choice = choices.find((candidate) => candidate === text)
  if (choice === undefined) throw new ConninfoError(`invalid ${keyword} value: "${quoteValue(text)}"`)
  return choice
}
