/** The options of each call, and how they are checked. One that a call does not know is an error and not ignored. */
import {
  checkBoolean,
  checkCount,
  checkMillis,
  checkVerifyCommit,
  OPTION_NAMES,
  type Check,
} from '../options.js'
import { checkSignal } from '../util/abort-signals.js'
import { didYouMean } from '../util/nearest-name.js'
import { LONGEST_TIMER_MILLIS } from '../util/timer.js'

/** The values are read by what is made of them. */
const later: Check = () => {}
const signal: Check = (_name, value) => checkSignal(value)

const label: Check = (name, value) => {
  if (typeof value !== 'string') throw new TypeError(`${name} must be a string, but is ${String(value)}`)
}

const checkPause: Check = (name, value) => {
  if (typeof value === 'number' && value >= 1 && value <= LONGEST_TIMER_MILLIS) return
  throw new RangeError(
    `${name} must be a number of milliseconds, from 1 to ${LONGEST_TIMER_MILLIS}, but is ${String(value)}`,
  )
}

/** Both are read and checked together. */
const SETTINGS = { settings: later, role: later }
const WAIT = { signal, timeoutMillis: checkMillis, detached: checkBoolean }
const ACQUIRE = { ...WAIT, ...SETTINGS, label, autocommit: checkBoolean }
const MODES = { isolationLevel: later, accessMode: later, deferrable: later }
const COMMIT = { groupCommit: checkBoolean, verifyCommit: checkVerifyCommit }

const OPTIONS = {
  use: { ...ACQUIRE, close: checkBoolean },
  acquire: ACQUIRE,
  tryAcquire: ACQUIRE,
  transaction: { ...WAIT, ...SETTINGS, label, ...MODES, ...COMMIT, retries: checkCount, close: checkBoolean },
  batch: { ...WAIT, ...SETTINGS, label, ...MODES, ...COMMIT },
  with: { ...SETTINGS, label, ...COMMIT, autocommit: checkBoolean },
  listen: { ...WAIT, maxBuffered: checkCount },
  lead: { signal, retryMillis: checkPause },
  'connection.transaction': {},
  stream: { batchSize: later, signal: later, timeoutMillis: later, rowMode: later, types: later },
  connect: { signal, timeoutMillis: checkMillis },
  close: { detached: checkBoolean },
  end: { timeoutMillis: checkMillis, detached: checkBoolean },
} satisfies Readonly<Record<string, Readonly<Record<string, Check>>>>

/** A call that takes options. */
export type OptionalCall = keyof typeof OPTIONS

const CHECKS = new Map(Object.entries(OPTIONS).map(([call, checks]) => [call, Object.entries(checks)]))

/** Where none are given, there is nothing to check. */
export const NO_OPTIONS: Readonly<Record<string, never>> = Object.freeze({})

/** Checks the options that a call was given. Throws a TypeError or RangeError that names the option. */
export function checkOptions(call: OptionalCall, options: object): void {
  if (options === NO_OPTIONS) return
  checkOptionNames(call, options)
  for (const [name, check] of CHECKS.get(call)!) {
    const value = (options as Record<string, unknown>)[name]
    if (value !== undefined) check(name, value)
  }
}

/** Checks their names. Throws a TypeError that names the nearest one known. */
export function checkOptionNames(call: OptionalCall, options: object): void {
  if (typeof options !== 'object' || (options as unknown) === null) {
    throw new TypeError(`the options of ${call}() must be an object`)
  }
  // Inherited ones count as well.
  for (const name in options) {
    if (Object.hasOwn(OPTIONS[call], name) || (options as Record<string, unknown>)[name] === undefined)
      continue
    throw new TypeError(`${call}() has no option "${name}"${hint(name, Object.keys(OPTIONS[call]))}`)
  }
}

function hint(name: string, known: readonly string[]): string {
  const nearest = didYouMean(name, known)
  if (nearest !== '') return nearest
  if (OPTION_NAMES.has(name)) return '; it is an option of the manager'
  const other = Object.entries(OPTIONS).find(([, names]) => Object.hasOwn(names, name))
  if (other !== undefined) return `; it is an option of ${other[0]}()`
  return known.length === 0 ? '; it takes none' : `; it has ${known.join(', ')}`
}

const GENERATORS = new Set(['[object GeneratorFunction]', '[object AsyncGeneratorFunction]'])

/** Checks what is to be run with the connection. Throws a TypeError. */
export function checkWork(call: string, work: unknown): void {
  const isGenerator = GENERATORS.has(Object.prototype.toString.call(work))
  if (typeof work === 'function' && !isGenerator) return
  const given = isGenerator ? 'a generator, which would not be run' : typeof work
  throw new TypeError(`${call}() takes a function, but was given ${given}`)
}

/** PostgreSQL cuts longer identifiers, and notifications would come under another name. */
export function checkChannel(channel: unknown): void {
  const fits = typeof channel === 'string' && channel !== '' && !channel.includes('\0')
  if (!fits || Buffer.byteLength(channel) > 63) throw new TypeError('a channel is a name of 1 to 63 bytes')
}
