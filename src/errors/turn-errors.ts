/** What goes wrong with waiting for a turn, and with having it. */
import { acquiredAt, describeHolder, named } from '../util/describe-holder.js'
import { quoteStatement } from '../util/quote-statement.js'
import { ManagedConnectionError, nameErrors, type Outcome } from './base.js'

type AcquireTimeoutFacts = Pick<
  AcquireTimeoutError,
  'timeoutMillis' | 'label' | 'waiting' | 'heldMillis' | 'holderLabel' | 'holderStack' | 'statement'
>

const MAY_BE_ITSELF = '; if this task holds it itself, it waits for itself'
const HOW_TO_SEE_WHO = `${MAY_BE_ITSELF}: traceHolders: true and the option label show who holds it`

/** The turn was not granted in time. */
export class AcquireTimeoutError extends ManagedConnectionError {
  readonly code = 'ERR_ACQUIRE_TIMEOUT'
  /** The limit that ran out, in milliseconds. */
  readonly timeoutMillis: number
  /** How many others were waiting at that moment. */
  readonly waiting: number
  /** How long the present holder has had the connection, in milliseconds; null when nobody holds it. */
  readonly heldMillis: number | null
  /** The `label` of the one who waited; null where it has none. */
  readonly label: string | null
  /** The `label` of the present holder; null where it has none, or nobody holds it. */
  readonly holderLabel: string | null
  /** The stack where the present holder acquired it, with `traceHolders` or `holdWarningMillis`. */
  readonly holderStack: string | null
  /** The statement that the server ran for the holder, shortened; null when it ran none. */
  readonly statement: string | null

  /** @param facts `whyNobody`: what is waited for where nobody holds it */
  constructor(facts: AcquireTimeoutFacts & { whyNobody: string | null; cause?: unknown }) {
    const { timeoutMillis, label, waiting, whyNobody, holderStack, cause } = facts
    const waited = timeoutMillis === 0 ? 'the connection was not free' : `timed out after ${timeoutMillis}ms`
    const who = whyNobody ?? describeHolder(facts)
    const isShown = facts.holderLabel !== null || holderStack !== null
    const hint = whyNobody !== null ? '' : isShown ? MAY_BE_ITSELF : HOW_TO_SEE_WHO
    const story = `${named(label)}${waited} (waiting=${waiting}, ${who})${hint}${acquiredAt(holderStack)}`
    super(story, { cause, retrySafe: true })
    this.timeoutMillis = timeoutMillis
    this.label = label
    this.waiting = waiting
    this.heldMillis = facts.heldMillis
    this.holderLabel = facts.holderLabel
    this.holderStack = holderStack
    this.statement = facts.statement
  }
}

/** The line was as long as `maxWaiting` allows. */
export class TooManyWaitingError extends ManagedConnectionError {
  readonly code = 'ERR_TOO_MANY_WAITING'
  /** The limit in force. */
  readonly maxWaiting: number

  constructor({ maxWaiting }: { maxWaiting: number }) {
    super(`too many wait for the connection already (maxWaiting=${maxWaiting})`, { retrySafe: true })
    this.maxWaiting = maxWaiting
  }
}

/** A holder asked the manager for something that would wait for the holder itself. */
export class ReentrantAcquireError extends ManagedConnectionError {
  readonly code = 'ERR_REENTRANT_ACQUIRE'
  /** The member that was called. */
  readonly member: string

  /** @param facts `detachable`: whether the member has the option `detached`; default: true */
  constructor(facts: { member: string; inside: 'callback' | 'onConnect'; detachable?: boolean }) {
    const { member, inside } = facts
    super(
      inside === 'onConnect'
        ? `${member}() was called from onConnect, which would wait for itself; use the client that onConnect is given`
        : `${member}() was called inside a callback that holds the connection, which would wait for itself; ` +
            whatToDo(facts),
      { retrySafe: true },
    )
    this.member = member
  }
}

function whatToDo({ member, detachable = true }: { member: string; detachable?: boolean }): string {
  if (!detachable) return 'call it outside of that callback'
  return member === 'end' || member === 'close'
    ? 'call it behind that callback, or pass { detached: true } and do not await it in there'
    : 'use the connection that the callback was given, or pass { detached: true } for work that it does not await'
}

/** The handle was released: it can reach the server no more. */
export class ConnectionReleasedError extends ManagedConnectionError {
  readonly code = 'ERR_CONNECTION_RELEASED'

  constructor(what: 'connection' | 'transaction' = 'connection') {
    super(
      what === 'connection'
        ? 'the connection has been released; acquire it again'
        : 'the nested transaction is over, and its handle with it; use the handle of the transaction around it',
      { retrySafe: true },
    )
  }
}

/** The holder kept the connection longer than `maxHoldMillis`; it was taken back and rolled back. */
export class HoldTimeoutError extends ManagedConnectionError {
  readonly code = 'ERR_HOLD_TIMEOUT'
  /** The limit that ran out, in milliseconds. */
  readonly maxHoldMillis: number
  /** The `label` of the holder; null where it has none. */
  readonly label: string | null
  /** The stack where the connection was acquired, with `traceHolders` or `holdWarningMillis`. */
  readonly holderStack: string | null

  constructor(facts: {
    maxHoldMillis: number
    label: string | null
    holderStack: string | null
    retrySafe: boolean
  }) {
    super(
      `${named(facts.label)}${facts.label === null ? '' : 'took too long: '}the connection was held for longer than maxHoldMillis=${facts.maxHoldMillis}; it was taken back and ` +
        `what was open was rolled back${acquiredAt(facts.holderStack)}`,
      facts,
    )
    this.maxHoldMillis = facts.maxHoldMillis
    this.label = facts.label
    this.holderStack = facts.holderStack
  }
}

function storyOf({
  timeoutMillis,
  sent = true,
  cause,
}: Outcome & { timeoutMillis: number; sent?: boolean }): string {
  const limit = `${timeoutMillis}ms (its timeoutMillis, or the manager's statementTimeoutMillis)`
  if (!sent) return `the statement was withdrawn after ${limit}, before it was sent`
  if (cause !== undefined) return `the statement was cancelled after ${limit}`
  return (
    `the statement did not end within ${limit}, and the server has not confirmed that it was cancelled, so it may have ` +
    'been carried out'
  )
}

/**
 * A statement ran longer than its `timeoutMillis`. Its `cause` is what the server said of the cancelled statement; where
 * there is none, nobody has confirmed that it was cancelled.
 */
export class StatementTimeoutError extends ManagedConnectionError {
  readonly code = 'ERR_STATEMENT_TIMEOUT'
  /** The limit that ran out, in milliseconds. */
  readonly timeoutMillis: number
  /** The text of the statement. */
  readonly statement: string

  /** @param facts `sent`: whether it had been sent when the limit ran out; default: true */
  constructor(facts: Outcome & { timeoutMillis: number; statement: string; sent?: boolean }) {
    const { timeoutMillis, statement } = facts
    super(`${storyOf(facts)}: ${quoteStatement(statement)}`, facts)
    this.timeoutMillis = timeoutMillis
    this.statement = statement
  }
}

nameErrors({
  AcquireTimeoutError,
  TooManyWaitingError,
  ReentrantAcquireError,
  ConnectionReleasedError,
  HoldTimeoutError,
  StatementTimeoutError,
})
