import { Failure, type AttemptTarget } from './attempt-error.js'
import { CLOSED } from './wait-for.js'

const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'Connection refused',
  ECONNRESET: CLOSED,
  EPIPE: CLOSED,
  ENOENT: 'No such file or directory',
  ENOTDIR: 'No such file or directory',
  EACCES: 'Permission denied',
  ETIMEDOUT: 'Connection timed out',
  EHOSTUNREACH: 'No route to host',
  ENETUNREACH: 'Network is unreachable',
  EADDRNOTAVAIL: 'Cannot assign requested address',
  EHOSTDOWN: 'Host is down',
  ENETDOWN: 'Network is down',
  ECONNABORTED: 'Software caused connection abort',
  EMFILE: 'Too many open files',
  EAGAIN: 'Resource temporarily unavailable',
}

/** Whether an error is one that the network or the operating system reports. */
export function isNetworkError(error: unknown): error is NodeJS.ErrnoException {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException
  return typeof code === 'string' && (code in NETWORK || syscall !== undefined)
}

/** What the operating system said, as a failure in libpq's words. */
export function networkFailure(error: Error, target: AttemptTarget): Failure {
  if (error instanceof Failure) return error
  const { code = '' } = error as NodeJS.ErrnoException
  const hint = code === 'ECONNREFUSED' || code === 'ENOENT' ? hintFor(target) : ''
  return new Failure('network', (NETWORK[code] ?? error.message) + hint, error)
}

function hintFor(target: AttemptTarget): string {
  return target.socket === undefined
    ? '\n\tIs the server running on that host and accepting TCP/IP connections?'
    : '\n\tIs the server running locally and accepting connections on that socket?'
}
