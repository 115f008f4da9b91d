import type pg from 'pg'
import type { AttemptError, AttemptTarget, Encryption } from './attempt-error.js'
import type { CancelOptions } from './cancel.js'
import type { LookUp } from './look-up.js'
import type { SessionFacts } from './session-facts.js'

/** What happens while a connection is opened. */
export type OpenStep =
  | { readonly kind: 'look-up'; readonly host: string }
  | { readonly kind: 'attempt'; readonly target: AttemptTarget; readonly encryption: Encryption }
  | { readonly kind: 'failed'; readonly error: AttemptError }
  | { readonly kind: 'opened'; readonly target: AttemptTarget; readonly encryption: Encryption }

/** What bounds and observes an opening. */
export interface OpenOptions {
  /** Stops the opening, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** When it must be over, on the clock of `now()`. */
  readonly deadline?: number
  /** Told of each step; must not throw. */
  readonly onStep?: (step: OpenStep) => void
  /** Finds the addresses of a name. Default: the operating system's look-up. */
  readonly lookUp?: LookUp
}

/** A connection that is open and ready for statements. */
export interface OpenedClient {
  /** Connected, with `pipeline: true`. It has an `error` listener that does nothing; add one that does. */
  readonly client: pg.Client
  /** Whom it is connected to. */
  readonly target: AttemptTarget
  readonly encryption: Encryption
  readonly session: SessionFacts
  /**
   * Asks the server to cancel what this session is doing. Does nothing over a stream that the user gave.
   *
   * @throws AttemptError when the request could not be delivered, or the signal's reason
   */
  cancel(options?: CancelOptions): Promise<void>
}
