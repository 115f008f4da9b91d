/** The options of `asPool`, validated once; and those that pg's pool has, as it names them. */
import type { ConnectionFacts } from '../api/manager.js'
import type { PoolOptions } from 'pg'
import { explainPoolOption } from '../conninfo/other-names.js'
import {
  checkBoolean,
  checkMillis,
  defaultsOf,
  OPTION_NAMES,
  readGiven,
  type OptionTable,
} from '../options.js'
import type { ManagedConnection, Manager } from '../index.js'

/** Options of `asPool`. */
export interface PoolFaceOptions {
  /** `end()` ends the manager, too. Default: false, the manager stays as it is. */
  readonly endManager?: boolean | undefined
  /**
   * A client released inside a transaction is an `error` event of the pool rather than a warning of the process.
   * As with any EventEmitter, an `error` that nobody listens to is an uncaught exception: what tests want.
   * Default: false.
   */
  readonly strict?: boolean | undefined
  /**
   * Refuse LISTEN at once. A client that listens has to be kept, and with it the only connection; libraries that
   * can poll in its place (graphile-worker) then do. Default: false.
   */
  readonly refuseListen?: boolean | undefined
  /**
   * How long `end()` waits for clients that are still out, in milliseconds; then they are rolled back and their
   * connection is dropped. `Infinity` = for ever, as pg does. Default: 30,000.
   */
  readonly endTimeoutMillis?: number | undefined
}

/** The options with every default filled in. */
export type ResolvedPoolOptions = { readonly [K in keyof PoolFaceOptions]-?: NonNullable<PoolFaceOptions[K]> }

const OPTIONS: OptionTable<ResolvedPoolOptions> = {
  endManager: [false, checkBoolean],
  strict: [false, checkBoolean],
  refuseListen: [false, checkBoolean],
  endTimeoutMillis: [30_000, checkMillis],
}

/** Checks `options` and fills in the defaults. Throws a TypeError or RangeError that names the option. */
export function resolvePoolOptions(options: PoolFaceOptions): ResolvedPoolOptions {
  return { ...defaultsOf(OPTIONS), ...readGiven(options, OPTIONS, explainStray) }
}

function explainStray(name: string): string | undefined {
  return OPTION_NAMES.has(name) ? '; it is an option of the manager: give it there' : explainPoolOption(name)
}

/**
 * `options` of a pool, in pg's words: whom it is connected to and for how long, and never a password. Host and port are
 * those of the server that the manager is connected to, where it is one of the library's and knows them.
 */
export function describeOptions(manager: Manager): PoolOptions {
  const { facts } = manager as Partial<ManagedConnection>
  const general = { max: 1, min: 0, maxUses: Infinity, allowExitOnIdle: true }
  if (facts === undefined) return { ...general, idleTimeoutMillis: 0, maxLifetimeSeconds: 0 }
  const { idleTimeoutMillis, maxLifetimeMillis } = facts
  // These may change: hosts take turns, and a function may give another user each time.
  const now = (): ConnectionFacts => (manager as ManagedConnection).facts
  return {
    get host() {
      return now().host
    },
    get port() {
      return now().port
    },
    get user() {
      return now().user
    },
    get database() {
      return now().database
    },
    ...{ ...general, idleTimeoutMillis, maxLifetimeSeconds: maxLifetimeMillis / 1_000 },
  }
}
