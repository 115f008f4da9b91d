/**
 * Whether what has arrived at the owner's port is what a worker says. A port is a border between the threads of one
 * program: whatever comes out of it must not be able to disturb the owner.
 */
import { MOST_VALUES } from '../../pipeline/wire.js'
import type { ToOwner } from '../protocol.js'

type Check = (value: unknown) => boolean

const isNumber: Check = (value) => Number.isSafeInteger(value) && (value as number) > 0
const isMillis: Check = (value) => typeof value === 'number' && value >= 0
const isBoolean: Check = (value) => typeof value === 'boolean'
const isText: Check = (value) => typeof value === 'string'
/** The protocol ends its strings with NUL. */
const isSqlText: Check = (value) => isText(value) && !(value as string).includes('\0')
const isKind: Check = (value) => value === 'wait' || value === 'try'
const isBegin: Check = (value) => isText(value) && BEGIN.test(value as string)
const isTerms: Check = (value) => isListLike(value, [isBoolean, isBegin, isBoolean])
const isLeft: Check = (value) => value === 'returned' || value === 'threw'
const isThrown = orNull((value) => isListLike(value, [isText, isText]))
const isParameter: Check = (value) => value === null || isText(value) || value instanceof Uint8Array
const isStatement: Check = (value) => isListLike(value, STATEMENT)
const isOpening = orNull((value) => isListLike(value, [isStatement, isNumber]))
const isChannel: Check = (value) =>
  isSqlText(value) && value !== '' && Buffer.byteLength(value as string) <= 63

/** The texts that the library makes for BEGIN. */
const BEGIN = /^BEGIN(?: [A-Z, ]+)?$/

const STATEMENT: readonly Check[] = [
  isSqlText,
  orNull((values) => isListOf(values, isParameter) && values.length <= MOST_VALUES),
  orNull(isSqlText),
  isBoolean,
  isBoolean,
  isMillis,
  isBoolean,
]

/** What follows each verb. */
const ENTRIES: Readonly<Record<ToOwner[0], readonly Check[]>> = {
  ask: [isNumber, isKind, isTerms, isMillis, orNull(isText)],
  withdraw: [isNumber],
  expired: [isNumber],
  begun: [isNumber],
  leave: [isNumber, isLeft, isThrown, isBoolean],
  statement: [isNumber, isNumber, isStatement],
  commit: [isNumber, isNumber],
  rollback: [isNumber, isNumber],
  autocommit: [isNumber, isBoolean],
  nest: [isNumber, isNumber],
  finish: [isNumber, isNumber, isNumber, isBoolean],
  abort: [isNumber, isNumber, isNumber],
  rows: [isNumber, isNumber, isNumber, isOpening],
  drop: [isNumber, isNumber, isNumber],
  query: [isNumber, isStatement, isMillis],
  batch: [
    isNumber,
    (value) => isListOf(value, isStatement) && value.length > 0,
    orNull(isBegin),
    isMillis,
    isBoolean,
  ],
  listen: [isNumber, isChannel, isMillis, isMillis],
  cancel: [isNumber],
  heard: [isNumber, isNumber],
  unlisten: [isNumber],
  close: [isNumber],
  look: [],
}

/** Gives back what it was given. @throws TypeError where that is nothing that a worker says */
export function checkEntry(entry: unknown): ToOwner {
  if (!Array.isArray(entry)) throw new TypeError('it is no list')
  const verb: unknown = entry[0]
  if (typeof verb !== 'string' || !Object.hasOwn(ENTRIES, verb))
    throw new TypeError('it has no verb that is known')
  const checks = ENTRIES[verb as ToOwner[0]]
  if (entry.length !== checks.length + 1) throw new TypeError(`"${verb}" takes ${checks.length} arguments`)
  for (let i = 0; i < checks.length; i++) {
    if (!checks[i]!(entry[i + 1])) throw new TypeError(`argument ${i + 1} of "${verb}" is not what it takes`)
  }
  return entry as unknown as ToOwner
}

function orNull(check: Check): Check {
  return (value) => value === null || check(value)
}

function isListOf(value: unknown, check: Check): value is unknown[] {
  if (!Array.isArray(value)) return false
  // Not by every(), which passes over holes.
  for (let i = 0; i < value.length; i++) if (!check(value[i])) return false
  return true
}

function isListLike(value: unknown, checks: readonly Check[]): boolean {
  return Array.isArray(value) && value.length === checks.length && checks.every((check, i) => check(value[i]))
}
