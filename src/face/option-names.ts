/** Which options each call takes. One that it does not know is an error and not ignored. */
import { OPTION_NAMES } from '../options.js'
import { didYouMean } from '../util/nearest-name.js'

const WAIT = ['signal', 'timeoutMillis', 'detached']
const MODES = ['isolationLevel', 'accessMode', 'deferrable']

const OPTIONS = {
  use: [...WAIT, 'autocommit', 'close'],
  acquire: [...WAIT, 'autocommit'],
  tryAcquire: [...WAIT, 'autocommit'],
  transaction: [...WAIT, ...MODES, 'retries', 'close'],
  batch: [...WAIT, ...MODES],
  listen: [...WAIT, 'maxBuffered'],
  'connection.transaction': [],
  stream: ['batchSize', 'signal', 'timeoutMillis', 'rowMode', 'types'],
  close: ['detached'],
  end: ['timeoutMillis', 'detached'],
} as const satisfies Readonly<Record<string, readonly string[]>>

/** A call that takes options. */
export type OptionalCall = keyof typeof OPTIONS

/** Checks the names of the options that a call was given. Throws a TypeError that names the nearest one known. */
export function checkOptionNames(call: OptionalCall, options: object): void {
  if (typeof options !== 'object' || (options as unknown) === null) {
    throw new TypeError(`the options of ${call}() must be an object`)
  }
  const known: readonly string[] = OPTIONS[call]
  // Inherited ones count as well.
  for (const name in options) {
    if (known.includes(name) || (options as Record<string, unknown>)[name] === undefined) continue
    throw new TypeError(`${call}() has no option "${name}"${hint(name, known)}`)
  }
}

function hint(name: string, known: readonly string[]): string {
  const nearest = didYouMean(name, known)
  if (nearest !== '') return nearest
  if (OPTION_NAMES.has(name)) return '; it is an option of the manager'
  const other = Object.entries(OPTIONS).find(([, names]) => (names as readonly string[]).includes(name))
  if (other !== undefined) return `; it is an option of ${other[0]}()`
  return known.length === 0 ? '; it takes none' : `; it has ${known.join(', ')}`
}

const GENERATORS = new Set(['[object GeneratorFunction]', '[object AsyncGeneratorFunction]'])

/** Checks what is to be run with the connection. Throws a TypeError. */
export function checkWork(call: string, work: unknown): void {
  if (typeof work !== 'function') {
    throw new TypeError(`${call}() takes a function, but was given ${typeof work}`)
  }
  if (GENERATORS.has(Object.prototype.toString.call(work))) {
    throw new TypeError(`${call}() takes a function, but was given a generator, which would not be run`)
  }
}

/** What is wrong with a nested transaction, which has no options; null where nothing is. */
export function checkNested(work: unknown, [options]: readonly unknown[]): TypeError | null {
  try {
    checkWork('transaction', work)
    if (options !== undefined) checkOptionNames('connection.transaction', options as object)
    return null
  } catch (error) {
    return error as TypeError
  }
}
