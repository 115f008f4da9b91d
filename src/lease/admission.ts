/** Where BEGIN is decided: what becomes of a request at the moment that it is next to be sent. */
import { SEND, SEND_COMMITTING, SKIP, type Admission } from '../pipeline/request-owner.js'
import { ControlRequest } from '../pipeline/control-request.js'
import { QueryRequest } from '../pipeline/query-request.js'
import { PLAIN_FACTS } from '../sql/classify.js'
import type { Request } from '../pipeline/request.js'
import type { TransactionState } from './transaction-state.js'

/** Decides, and notes in `transaction` what that opens or ends. A refusal is for a transaction that user text ended. */
export function decide(
  transaction: TransactionState,
  request: Request,
): Exclude<Admission, { verdict: 'refuse' | 'after' }> | { readonly verdict: 'refuse' } | 'behind BEGIN' {
  if (request instanceof ControlRequest) return decideControl(transaction, request)
  if (transaction.endedByText) return { verdict: 'refuse' }
  const beginIsDue = transaction.beginIsDue(request.traits.facts)
  if (beginIsDue && !canTakeBegin(request)) return 'behind BEGIN'
  if (beginIsDue) transaction.begun(request.text)
  const mayCommit = transaction.mayCommit(request.traits.facts)
  if (beginIsDue) return { verdict: 'send', begin: transaction.begin, mayCommit }
  return mayCommit ? SEND_COMMITTING : SEND
}

function decideControl(
  transaction: TransactionState,
  { text, traits }: ControlRequest,
): Exclude<Admission, { verdict: 'refuse' | 'after' }> | 'behind BEGIN' {
  if (traits.endsTransaction) {
    if (!transaction.open) return SKIP
    transaction.ending()
  } else if (transaction.beginIsDue(PLAIN_FACTS)) return 'behind BEGIN'
  return text === 'COMMIT' ? SEND_COMMITTING : SEND
}

/** BEGIN goes along with one statement of the extended protocol that may be pipelined. */
function canTakeBegin(request: Request): boolean {
  return request instanceof QueryRequest && request.traits.pipelining !== 'exclusive'
}
