/** The transactions of one turn, as they are told to the tracing channel: the one that is open, and those nested in it. */
import { ConnectionLostError, TransactionEndedError } from '../errors.js'
import { begin, finish, TRANSACTION } from '../diagnostics/channels.js'
import type { HoldContext, TransactionContext } from '../api/tracing.js'

type Outcome = NonNullable<TransactionContext['outcome']>

export class TransactionTraces {
  readonly #hold: HoldContext
  /** The outermost first. */
  readonly #open: TransactionContext[] = []

  constructor(hold: HoldContext) {
    this.#hold = hold
  }

  /** The innermost that is open; null where none is. */
  get current(): TransactionContext | null {
    return this.#open.at(-1) ?? null
  }

  begin(): TransactionContext {
    const { manager, label } = this.#hold
    const context: TransactionContext = {
      ...{ manager, label },
      hold: this.#hold,
      parent: this.current,
      outcome: null,
    }
    this.#open.push(context)
    begin(TRANSACTION, context)
    return context
  }

  /** It is over, and with it what is nested in it. */
  end(context: TransactionContext, outcome: Outcome, failure?: { error: unknown }): void {
    const at = this.#open.indexOf(context)
    if (at < 0) return
    for (const one of this.#open.splice(at).toReversed()) {
      one.outcome = outcome
      finish(TRANSACTION, one, failure)
    }
  }

  /** All of them are over. */
  endAll(outcome: Outcome, failure?: { error: unknown }): void {
    const [outermost] = this.#open
    if (outermost !== undefined) this.end(outermost, outcome, failure)
  }
}

/** What became of a transaction whose end has failed so. */
export function outcomeOf(error: unknown): Outcome {
  if (error instanceof ConnectionLostError) return error.commitOutcome === 'none' ? 'rolled back' : 'unknown'
  return error instanceof TransactionEndedError ? 'unknown' : 'rolled back'
}
