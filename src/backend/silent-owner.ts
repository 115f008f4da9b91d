import { SEND, type RequestOwner } from '../pipeline/request-owner.js'
import type { Request } from '../pipeline/request.js'

/** Owns the library's own requests, of which only the promise is asked for. */
export const SILENT_OWNER: RequestOwner = {
  admit: () => SEND,
  onAnswered: (request: Request) =>
    request.error === null ? request.resolve(request.outcome) : request.reject(request.error),
  onWithdrawn: (request: Request, error: Error | null) => request.reject(error),
  onLost: (request: Request, cause: Error) => request.reject(cause),
  withdraw: () => {},
  mayRetry: () => false,
}
