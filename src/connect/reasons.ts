import { AttemptError, Failure, type AttemptTarget } from './attempt-error.js'
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

/** `cannot_connect_now`, `admin_shutdown`, `crash_shutdown`…, and `too_many_connections`. */
const TRANSIENT_STATE = /^(?:57P0.|53300)$/

/**
 * Class 08, "connection exception": what PgBouncer and other poolers say at the login when they have no server to
 * offer; but for 08004, which says that it does not want this client. After the login it is a statement's own failure.
 */
const POOLER_STATE = /^08(?!004)...$/

/**
 * Whether an opening that failed with this error is worth trying again: the network failed, time ran out, the
 * server is starting, stopping or full, a pooler has no server, or no host was what `target_session_attrs` asks for.
 * Looks through `errors` and `cause`; another error of the server's, or a demand that was not met, settles it: no.
 */
export function isTransientOpenError(error: unknown): boolean {
  const verdicts = [...judge(error, new Set(), false)]
  return verdicts.includes('transient') && !verdicts.includes('final')
}

function* judge(error: unknown, seen: Set<unknown>, within: boolean): Generator<'transient' | 'final'> {
  if (typeof error !== 'object' || error === null || seen.has(error)) return
  seen.add(error)
  const kind = error instanceof AttemptError || error instanceof Failure ? error.kind : ''
  const atLogin = within || kind === 'refused'
  // What a missing file or a password function says is not the network's doing, whatever its code is.
  if (kind === 'policy') return yield 'final'
  const { code, errors, cause } = error as { code?: unknown; errors?: unknown; cause?: unknown }
  const state = typeof code === 'string' ? code : ''
  const isTransient = TRANSIENT_STATE.test(state) || (atLogin && POOLER_STATE.test(state))
  if (isNetworkError(error) || isTransient) yield 'transient'
  // Any other SQLSTATE.
  else if (/^[0-9A-Z]{5}$/.test(state)) yield 'final'
  if (/^(?:network|timeout|session)$/.test(kind)) yield 'transient'
  if (Array.isArray(errors)) for (const inner of errors) yield* judge(inner, seen, atLogin)
  yield* judge(cause, seen, atLogin)
}

/** Whether a refused login means that this pooler has no server to offer just now. */
export function isPoolerWithoutServer({ kind, code = '' }: AttemptError): boolean {
  return kind === 'refused' && POOLER_STATE.test(code)
}
