/**
 * Where a failed call was made. What the server says, and that a connection is lost, comes out of the socket, with a
 * stack that ends there. Captured anew in the reaction to it, the stack names the async functions that wait.
 */
import { ManagedConnectionError } from '../errors.js'
import { isError, isFromServer } from './thrown.js'

/** They have the stack that they are to have: what several callers are told leads to the first. */
const settled = new WeakSet<object>()

/** Rejects with `error`, which gets the frames of who awaits; an error of the program's own keeps those it has. */
export function withCallersFrames(error: unknown): never {
  const isOurs = isFromServer(error) || (isError(error) && error instanceof ManagedConnectionError)
  if (isOurs && !settled.has(error) && Object.isExtensible(error)) {
    Error.captureStackTrace(error, withCallersFrames)
    settled.add(error)
  }
  throw error
}

/** What the program aborts with is its own, whatever its class. */
export function keepFrames(reason: unknown): void {
  if (reason instanceof Error) settled.add(reason)
}
