/** Opens server connections by a plan: dialing, TLS, logging in, and checking that it is the right server. */
export {
  AttemptError,
  Failure,
  type AttemptTarget,
  type Encryption,
  type FailureKind,
} from './attempt-error.js'
export type { LoginMethod } from './auth-watch.js'
export type { CancelOptions } from './cancel.js'
export { openClient } from './open-client.js'
export type { OpenedClient, OpenStep } from './attempt.js'
export type { SessionFacts, TlsFacts } from './session-facts.js'
export { isTransientOpenError } from './reasons.js'
