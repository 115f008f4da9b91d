/**
 * What the package does not export, from where it was built. Only this file knows which file of `dist/` a module is;
 * a test asks for it by a name:
 *
 * ```ts
 * const { classify } = await internal('classify')
 * ```
 */
import type * as Advice from '../../dist/cli/advice/index.js'
import type * as Backoff from '../../dist/util/backoff.js'
import type * as Begin from '../../dist/lease/begin.js'
import type * as BriefMap from '../../dist/util/brief-map.js'
import type * as Classify from '../../dist/sql/classify.js'
import type * as Clock from '../../dist/util/clock.js'
import type * as Command from '../../dist/cli/command.js'
import type * as Connect from '../../dist/connect/index.js'
import type * as Deadlines from '../../dist/util/deadlines.js'
import type * as Failures from '../../dist/lease/failures.js'
import type * as Framing from '../../dist/connect/framing.js'
import type * as HarmlessFunctions from '../../dist/sql/harmless-functions.js'
import type * as HolderContext from '../../dist/lease/holder-context.js'
import type * as Keywords from '../../dist/conninfo/keywords.js'
import type * as LinkedList from '../../dist/util/linked-list.js'
import type * as Mask from '../../dist/conninfo/mask.js'
import type * as NearestName from '../../dist/util/nearest-name.js'
import type * as Options from '../../dist/options.js'
import type * as ParameterFacts from '../../dist/cli/parameter-facts.js'
import type * as Plan from '../../dist/conninfo/plan.js'
import type * as Settlement from '../../dist/lease/settlement.js'
import type * as StrayAt from '../../dist/cli/stray-at.js'
import type * as Subscription from '../../dist/listen/subscription.js'
import type * as Timestamp from '../../dist/pipeline/timestamp.js'
import type * as WaitQueue from '../../dist/broker/wait-queue.js'
import { pathOf, root } from './root.js'

export type { AttemptFacts, Problem, Report } from '../../dist/cli/report.js'
export type { OpenedClient, OpenStep } from '../../dist/connect/index.js'
export type { ConnectPlan } from '../../dist/conninfo/plan.js'
export type { Departure, Settlement } from '../../dist/lease/settlement.js'

interface Modules {
  advice: typeof Advice
  backoff: typeof Backoff
  begin: typeof Begin
  briefMap: typeof BriefMap
  classify: typeof Classify
  clock: typeof Clock
  command: typeof Command
  connect: typeof Connect
  deadlines: typeof Deadlines
  failures: typeof Failures
  framing: typeof Framing
  harmlessFunctions: typeof HarmlessFunctions
  holderContext: typeof HolderContext
  keywords: typeof Keywords
  linkedList: typeof LinkedList
  mask: typeof Mask
  nearestName: typeof NearestName
  options: typeof Options
  parameterFacts: typeof ParameterFacts
  plan: typeof Plan
  settlement: typeof Settlement
  strayAt: typeof StrayAt
  subscription: typeof Subscription
  timestamp: typeof Timestamp
  waitQueue: typeof WaitQueue
}

const FILES: Readonly<Record<keyof Modules, string>> = {
  advice: 'cli/advice/index.js',
  backoff: 'util/backoff.js',
  begin: 'lease/begin.js',
  briefMap: 'util/brief-map.js',
  classify: 'sql/classify.js',
  clock: 'util/clock.js',
  command: 'cli/command.js',
  connect: 'connect/index.js',
  deadlines: 'util/deadlines.js',
  failures: 'lease/failures.js',
  framing: 'connect/framing.js',
  harmlessFunctions: 'sql/harmless-functions.js',
  holderContext: 'lease/holder-context.js',
  keywords: 'conninfo/keywords.js',
  linkedList: 'util/linked-list.js',
  mask: 'conninfo/mask.js',
  nearestName: 'util/nearest-name.js',
  options: 'options.js',
  parameterFacts: 'cli/parameter-facts.js',
  plan: 'conninfo/plan.js',
  settlement: 'lease/settlement.js',
  strayAt: 'cli/stray-at.js',
  subscription: 'listen/subscription.js',
  timestamp: 'pipeline/timestamp.js',
  waitQueue: 'broker/wait-queue.js',
}

/** A module of the package, the same one that the package itself has loaded. */
export async function internal<N extends keyof Modules>(name: N): Promise<Modules[N]> {
  return (await import(new URL(`dist/${FILES[name]}`, root).href)) as Modules[N]
}

/** The program behind the command `pg-managed-connection`. */
export const COMMAND = pathOf('dist/cli/main.js')
