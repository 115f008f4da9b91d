/** What the package does not export, from where it was built; this file runs in build/test/conninfo/. */
type Open = typeof import('../../dist/driver/open/index.js')
type Plan = typeof import('../../dist/conninfo/plan.js')
type Mask = typeof import('../../dist/conninfo/mask.js')
type Keywords = typeof import('../../dist/conninfo/keywords.js')

export type { OpenedClient, OpenStep } from '../../dist/driver/open/index.js'
export type { ConnectPlan } from '../../dist/conninfo/plan.js'

const load = async (path: string): Promise<unknown> =>
  import(new URL(`../../../dist/${path}`, import.meta.url).href)

export const { openClient, isTransientOpenError, AttemptError } = (await load('driver/open/index.js')) as Open
export const { planConnection } = (await load('conninfo/plan.js')) as Plan
export const { describeConninfo } = (await load('conninfo/mask.js')) as Mask
export const { keywords } = (await load('conninfo/keywords.js')) as Keywords
