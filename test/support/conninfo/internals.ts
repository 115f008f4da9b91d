/** What the tests of connection strings and of opening use beside the exports. */
import { internal } from '../internals.js'

export type { OpenedClient } from '../internals.js'

export const { openClient, isTransientOpenError, AttemptError } = await internal('connect')
export const { planConnection } = await internal('plan')
export const { describeConninfo } = await internal('mask')
export const { keywords } = await internal('keywords')
