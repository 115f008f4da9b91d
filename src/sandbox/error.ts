/** What a sandbox refuses. */
import { ManagedConnectionError, nameErrors } from '../errors/base.js'

/** A sandbox cannot do it, because everything in it is one transaction that is never committed. */
export class SandboxError extends ManagedConnectionError {
  readonly code = 'ERR_SANDBOX'

  constructor(message: string, cause?: unknown) {
    super(message, { retrySafe: false, cause })
  }
}

nameErrors({ SandboxError })
