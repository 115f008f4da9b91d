/**
 * Where a failed call was made. What the server says, and that a connection is lost, comes out of the socket, with a
 * stack that ends there. Captured anew in the reaction to it, the stack names the async functions that wait.
 */
import { ManagedConnectionError } from '../errors.js'
import { isFromServer } from './from-server.js'

/** Rejects with `error`, which gets the frames of who awaits; an error of the program's own keeps those it has. */
export function withCallersFrames(error: unknown): never {
  if (error instanceof ManagedConnectionError || isFromServer(error)) {
    Error.captureStackTrace(error, withCallersFrames)
  }
  throw error
}
