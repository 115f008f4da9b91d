/**
 * What the package does not export, from where it was built. Only this file knows in which file of `dist/` something
 * is; a test asks for it by a name:
 *
 * ```ts
 * const { classify } = await internal('classify')
 * ```
 */
import { pathOf } from './root.js'

export type { AttemptFacts, Problem, Report } from '#dist/cli/report.js'
export type { OptionalCall } from '#dist/face/call-options.js'
export type { OpenedClient } from '#dist/connect/index.js'
export type { Departure, Settlement } from '#dist/lease/settlement.js'

const MODULES = {
  advice: () => import('#dist/cli/advice/index.js'),
  backoff: () => import('#dist/util/backoff.js'),
  begin: () => import('#dist/lease/begin.js'),
  briefMap: () => import('#dist/util/brief-map.js'),
  certificateNames: () => import('#dist/connect/certificate-names.js'),
  classify: () => import('#dist/sql/classify.js'),
  clock: () => import('#dist/util/clock.js'),
  command: () => import('#dist/cli/command.js'),
  connect: () => import('#dist/connect/index.js'),
  deadlines: () => import('#dist/util/deadlines.js'),
  failures: () => import('#dist/lease/failures.js'),
  framing: () => import('#dist/pg/framing.js'),
  harmlessFunctions: () => import('#dist/sql/harmless-functions.js'),
  holderContext: () => import('#dist/lease/holder-context.js'),
  keywords: () => import('#dist/conninfo/keywords.js'),
  linkedList: () => import('#dist/util/linked-list.js'),
  mask: () => import('#dist/conninfo/mask.js'),
  nameErrors: () => import('#dist/errors/base.js'),
  nearestName: () => import('#dist/util/nearest-name.js'),
  optionNames: () => import('#dist/face/call-options.js'),
  options: () => import('#dist/options.js'),
  parameterFacts: () => import('#dist/cli/parameter-facts.js'),
  plan: () => import('#dist/conninfo/plan.js'),
  revocations: () => import('#dist/connect/revocations.js'),
  settlement: () => import('#dist/lease/settlement.js'),
  strayAt: () => import('#dist/cli/parameter-facts.js'),
  subscription: () => import('#dist/listen/subscription.js'),
  timestamp: () => import('#dist/pipeline/timestamp.js'),
  waitQueue: () => import('#dist/broker/wait-queue.js'),
}

/** A module of the package, the same one that the package itself has loaded. */
export function internal<N extends keyof typeof MODULES>(name: N): ReturnType<(typeof MODULES)[N]> {
  return MODULES[name]() as ReturnType<(typeof MODULES)[N]>
}

/** The program behind the command `pg-managed-connection`. */
export const COMMAND = pathOf('dist/cli/main.js')
