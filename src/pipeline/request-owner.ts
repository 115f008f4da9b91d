/** Who issues requests, and decides about each as it is sent. */
import type { ReadyStatus, Statement } from '../api/statement.js'
import type { Request } from './request.js'

/** What becomes of a request that is next to be sent. */
export type Admission =
  /** It is sent, behind a BEGIN where there is one. Once sent it may be committed before its answer arrives. */
  | {
      readonly verdict: 'send'
      readonly begin: string | null
      /** What the BEGIN, this one or the caller's own, is followed by: settings of the transaction. */
      readonly locals: readonly string[]
      /** A query of the library's own that goes before it, in the same Sync: settings of an implicit transaction. */
      readonly lead: Statement | null
      /** A question of its owner's that goes along behind it, in the same Sync; the answer is `request.trailing`. */
      readonly trailer: Statement | null
      readonly mayCommit: boolean
    }
  /** Another one is sent first, and it is asked about again. */
  | { readonly verdict: 'after'; readonly first: Request }
  /** There is nothing to do any more. */
  | { readonly verdict: 'skip' }
  | { readonly verdict: 'refuse'; readonly error: Error }

export const NO_LOCALS: readonly string[] = []

const NO_BEGIN = { verdict: 'send', begin: null, locals: NO_LOCALS, lead: null, trailer: null } as const
export const SEND = { ...NO_BEGIN, mayCommit: false } as const satisfies Admission
export const SEND_COMMITTING = { ...NO_BEGIN, mayCommit: true } as const satisfies Admission
export const SKIP = { verdict: 'skip' } as const satisfies Admission

/** What is sent, and how. */
export type Sent = Extract<Admission, { verdict: 'send' }>

/** Issues requests: decides about each as it is sent, and is told how it went. */
export interface RequestOwner {
  /** Each of its requests is a transaction by itself: one that was hit by mistake has had no effect. */
  readonly isolated?: boolean
  admit(request: Request): Admission
  /** ReadyForQuery has come: `request.error` is null or what the server said. */
  onAnswered(request: Request, status: ReadyStatus): void
  /** It was not sent: `error` is what it was refused with, or null where it was skipped. */
  onWithdrawn(request: Request, error: Error | null): void
  /** The connection died before it was answered; `request.sent` tells whether it had been sent. */
  onLost(request: Request, cause: Error): void
  /** What texts mean in its transaction, in one word; absent: what they mean to the session. */
  meaningOf?(request: Request): string
  /** Takes it back, where it was not sent. Its caller has been told. */
  withdraw(request: Request): void
  /** Nothing of its caller's whole call can have been committed, if this request was not. */
  mayRetry(request: Request): boolean
}
