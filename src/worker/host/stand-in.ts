/** Errors that stand for what happens in a worker, on the owner's thread. */
import type { Thrown } from '../protocol.js'

/** What the owner's manager is thrown in place of the error of a worker's callback. */
class WorkError extends Error {}

/** The same, with what tells whether the connection is still good. */
export function standIn(thrown: Thrown): Error {
  const error = new WorkError('thrown in a worker')
  return thrown === null ? error : Object.assign(error, { code: thrown[0], severity: thrown[1] })
}

/** The holder, or the one who waited, is no more. */
export class WorkerGoneError extends Error {
  constructor() {
    super('the worker is gone, or waits no longer')
  }
}
