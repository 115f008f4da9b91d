/** Opens server connections by a plan: dialing, TLS, logging in, and checking that it is the right server. */
export { AttemptError, Failure, isTransientOpenError } from './failures.js'
export type { AttemptTarget, Encryption, FailureKind } from './failures.js'
export type { CancelOptions } from './cancel.js'
export { openClient } from './open-client.js'
export type { OpenedClient, OpenStep } from './attempt.js'
export { abortable, withDeadline } from './waiting.js'
export { collectParameters, type LoginMethod, type TlsFacts } from './session.js'
