/** Reads one statement of a batch. */
import { TransactionOrderError } from '../errors.js'
import { refuseOwnLimits } from '../options.js'
import { isSubmittable, readCall } from './read-call.js'
import type { StatementCall } from '../api/statement.js'
import type { CallDefaults } from './read-call.js'

/** @throws TypeError, RangeError or `TransactionOrderError` for what cannot be part of one transaction in one round trip */
export function readBatched(statement: unknown, index: number, defaults: CallDefaults): StatementCall {
  if (isSubmittable(statement)) throw new TypeError(`statement ${index} of the batch is a submittable`)
  const call = readCall(statement, undefined, defaults)
  refuseOwnLimits(statement, index)
  if (call.text.controls) {
    throw new TransactionOrderError(
      `statement ${index} of the batch is transaction control; a batch is one transaction`,
    )
  }
  if (call.text.kind === 'copy')
    throw new TypeError(`statement ${index} of the batch is COPY, which needs a stream`)
  return call
}
