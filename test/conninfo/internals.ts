/** What the package does not export, from where it was built; this file runs in build/test/conninfo/. */
import type * as Keywords from '../../dist/conninfo/keywords.js'
import type * as Mask from '../../dist/conninfo/mask.js'
import type * as Plan from '../../dist/conninfo/plan.js'
import type * as Open from '../../dist/connect/index.js'

export type { OpenedClient, OpenStep } from '../../dist/connect/index.js'
export type { ConnectPlan } from '../../dist/conninfo/plan.js'

const load = async (path: string): Promise<unknown> =>
  import(new URL(`../../../dist/${path}`, import.meta.url).href)

export const { openClient, isTransientOpenError, AttemptError } = (await load(
  'connect/index.js',
)) as typeof Open
export const { planConnection } = (await load('conninfo/plan.js')) as typeof Plan
export const { describeConninfo } = (await load('conninfo/mask.js')) as typeof Mask
export const { keywords } = (await load('conninfo/keywords.js')) as typeof Keywords
