/**
 * What the transactions of a lease have set: sent with the BEGIN that opens one, the library's or the holder's own; and
 * with each statement that is a transaction by itself, ahead of it in the same Sync.
 */
import { GROUPED } from '../commit/flushes.js'
import { TransactionOrderError } from '../errors.js'
import { ControlRequest } from '../pipeline/control-request.js'
import { StatementsRequest } from '../pipeline/query-request.js'
import { NO_LOCALS, SEND, SEND_COMMITTING, type Sent } from '../pipeline/request-owner.js'
import { ownStatement } from '../pipeline/statement-part.js'
import { SubmittableRequest } from '../pipeline/submittable-request.js'
import { localCommands, meaningOf, settingQuery, type TurnSettings } from '../sql/turn-settings.js'
import { quoteStatement } from '../util/quote-statement.js'
import type { LeaseTerms } from '../api/ports.js'
import type { Request } from '../pipeline/request.js'
import type { Statement } from '../api/statement.js'
import type { TransactionState } from './transaction-state.js'

export class LeaseSettings {
  /** What follows the library's BEGIN. */
  readonly commands: readonly string[]
  /** What texts mean under them. */
  readonly meaning: string
  readonly #settings: TurnSettings | null

  /** Most turns have none, and share what says so. */
  static of(terms: LeaseTerms): LeaseSettings {
    if (terms.settings !== null) return new LeaseSettings(terms)
    return terms.commitment?.group === true ? GROUP_ALONE : NONE
  }

  constructor({ commitment, settings }: Pick<LeaseTerms, 'commitment' | 'settings'>) {
    const grouped = commitment?.group === true ? GROUPED : NO_LOCALS
    this.#settings = settings
    this.commands = settings === null ? grouped : [...grouped, ...localCommands(settings)]
    this.meaning = settings === null ? '' : meaningOf(settings)
  }

  /** Why a request cannot be run under them; null where it can. */
  refusalOf(request: Request, transaction: TransactionState): Error | null {
    if (this.#settings === null || request instanceof ControlRequest) return null
    const { facts } = request.traits
    if (facts.chains) return chainsError(request.text)
    if (request instanceof SubmittableRequest) return this.#refusalOfSubmittable(request, transaction)
    const isAlone = this.#isAlone(request, transaction) && !facts.begins && !facts.ends
    return isAlone && (facts.inParts || !(request instanceof StatementsRequest))
      ? aloneError(request.text)
      : null
  }

  /** Nothing can be set ahead of what speaks for itself, nor behind its BEGIN. */
  #refusalOfSubmittable(request: SubmittableRequest, transaction: TransactionState): Error | null {
    const { begins, ends } = request.traits.facts
    if (request.runsNothing || ends || !this.#isAlone(request, transaction)) return null
    return begins ? submittedBeginError(request.text) : aloneError(request.text)
  }

  /** How a request is sent that goes without a BEGIN of the library's; null where nothing has to be set for it. */
  aloneOf(request: Request, transaction: TransactionState): Sent | null {
    if (this.#settings === null || !this.#isAlone(request, transaction)) return null
    const { facts } = request.traits
    if (facts.ends) return null
    if (facts.begins) return { ...SEND, locals: localCommands(this.#settings) }
    return { ...SEND_COMMITTING, lead: leadOf(this.#settings) }
  }

  /** No transaction is open, and the library opens none for it. */
  #isAlone(request: Request, transaction: TransactionState): boolean {
    if (transaction.open || request instanceof ControlRequest) return false
    return !transaction.beginIsDue(request.traits.facts)
  }
}

const NONE = new LeaseSettings({ commitment: null, settings: null })
const GROUP_ALONE = new LeaseSettings({ commitment: { group: true, verify: false }, settings: null })

/** The query that sets them for one statement. */
export function leadOf(settings: TurnSettings): Statement {
  const { text, values } = settingQuery(settings)
  return ownStatement(text, { values, preparable: true })
}

/** Why such a text is refused where there are settings. */
export function chainsError(text: string): Error {
  return new TransactionOrderError(
    `${quoteStatement(text)} may begin a transaction itself, which would not have the settings and the role of its turn: ` +
      'ask for one statement at a time, and without AND CHAIN',
  )
}

function submittedBeginError(text: string): Error {
  return new TransactionOrderError(
    `${quoteStatement(text)} is a submittable, and the settings and the role of its turn cannot be sent behind it: ` +
      'begin the transaction with a text',
  )
}

function aloneError(text: string): Error {
  return new TransactionOrderError(
    `${quoteStatement(text)} may commit in between, and what follows would not have the settings and the role of its ` +
      'turn: begin a transaction first',
  )
}
