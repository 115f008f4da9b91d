import { ConninfoError } from '../errors.js'
import { readMembers } from '../util/members.js'
import type { ConnectionParameters } from './parameters.js'
import { isParameter } from './pg-names.js'

/** What a user may give to say where to connect. */
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
  const members = readMembers(given, isParameter)
  const prototype: object | null = Reflect.getPrototypeOf(given)
  const isPlain = prototype === null || Object.hasOwn(prototype, 'isPrototypeOf')
  if (members.size > 0 || isPlain) return Object.fromEntries(members)
  // A promise, a map, a date: taken for "nothing given", it would lead to a server that nobody meant.
  throw new ConninfoError('the connection parameters are an object without any connection parameter in it')
}
