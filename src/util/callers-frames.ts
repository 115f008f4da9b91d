/**
 * Where a failed call was made. What the server says, and that a connection is lost, comes out of the socket, with a
 * stack that ends there. Captured anew in the reaction to it, the stack names the async functions that wait.
 */
import { ConnectError, ManagedConnectionError } from '../errors.js'
import { tellBriefly } from '../errors/connect-story.js'
import { isError, isFromServer } from './thrown.js'

/** Errors whose stack is final: one that several callers get leads to the first of them. */
const settled = new WeakSet<object>()

/** Throws `error`, with the frames of the async functions that wait; an error of the program's own keeps its stack. */
export function withCallersFrames(error: unknown): never {
  const isOurs = isFromServer(error) || (isError(error) && error instanceof ManagedConnectionError)
  if (isOurs && !settled.has(error) && Object.isExtensible(error)) {
    Error.captureStackTrace(error, withCallersFrames)
    if (error instanceof ConnectError) tellBriefly(error)
    settled.add(error)
  }
  throw error
}

/** Leaves the stack of an abort reason as it is: it is the program's own error, whatever its class. */
export function keepFrames(reason: unknown): void {
  if (reason instanceof Error) settled.add(reason)
}
