/** The options of a pool face: validated once, a wrong value throws and names itself. */
import { checkBoolean, checkMillis } from '../options.js'
import { readMembers } from '../util/members.js'
import { didYouMean } from '../util/nearest-name.js'
import type { PoolFaceOptions } from './types.js'

/** The options with every default filled in. */
export type ResolvedPoolOptions = { readonly [K in keyof PoolFaceOptions]-?: NonNullable<PoolFaceOptions[K]> }

const DEFAULTS: ResolvedPoolOptions = {
  endManager: false,
  strict: false,
  refuseListen: false,
  endTimeoutMillis: 30_000,
}

const CHECKS: Readonly<Record<keyof PoolFaceOptions, (name: string, value: unknown) => void>> = {
  endManager: checkBoolean,
  strict: checkBoolean,
  refuseListen: checkBoolean,
  endTimeoutMillis: checkMillis,
}

/** Checks `options` and fills in the defaults. Throws a TypeError or RangeError that names the option. */
export function resolvePoolOptions(options: PoolFaceOptions): ResolvedPoolOptions {
  if (typeof options !== 'object' || options === null) throw new TypeError('options must be an object')
  const isKnown = (name: string): boolean => Object.hasOwn(CHECKS, name)
  const given = [...readMembers(options, isKnown)].filter(([, value]) => value !== undefined)
  for (const [name, value] of given) {
    if (!isKnown(name))
      throw new TypeError(`unknown option "${name}"${didYouMean(name, Object.keys(CHECKS))}`)
    CHECKS[name as keyof PoolFaceOptions](name, value)
  }
  return Object.freeze({ ...DEFAULTS, ...(Object.fromEntries(given) as Partial<ResolvedPoolOptions>) })
}
