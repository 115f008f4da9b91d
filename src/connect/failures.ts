import type { ConnectPlan } from '../conninfo/plan.js'

/**
 * Why one attempt to open a connection failed:
 * - `'network'`: the host could not be found or reached, or the connection broke.
 * - `'timeout'`: `connect_timeout` or the caller's deadline ran out.
 * - `'tls'`: the encryption could not be agreed on, or the server's certificate was not accepted.
 * - `'refused'`: the server answered with an error, which is the `cause`.
 * - `'session'`: the session is not what `target_session_attrs` asks for.
 * - `'policy'`: something that was asked for was not met (`require_auth`, `channel_binding`), or a password or a
 *   file is missing.
 * - `'protocol'`: what answered does not speak PostgreSQL's protocol as it should.
 */
export type FailureKind = 'network' | 'timeout' | 'tls' | 'refused' | 'session' | 'policy' | 'protocol'

/** A failure inside an attempt, before it is known to whom the attempt went. */
export class Failure extends Error {
  readonly kind: FailureKind

  constructor(kind: FailureKind, reason: string, cause?: unknown) {
    super(reason, cause === undefined ? undefined : { cause })
    this.kind = kind
  }
}

export interface AttemptTarget {
  /** The host as it was given. */
  readonly host: string
  readonly port: number
  /** The network address, once it is known. */
  readonly address?: string
  /** The Unix socket, when there is one instead of an address. */
  readonly socket?: string
}

/** What is tried at one time: whom, by which plan, with or without encryption, and until when. */
export interface Try {
  readonly target: AttemptTarget
  readonly plan: ConnectPlan
  readonly encryption: Encryption
  readonly signal: AbortSignal
  /** Told when somebody has accepted the connection. */
  readonly onReached?: () => void
}

/** One attempt to open a connection failed; `cause` is what the server, the network or TLS said. */
export class AttemptError extends Error {
  readonly kind: FailureKind
  /** The `code` of what the server (a SQLSTATE), the network or TLS said; undefined where it had none. */
  readonly code: string | undefined
  /** Why, in plain words, without the host in front. */
  readonly reason: string
  readonly host: string
  readonly port: number
  /** The network address that was tried; null when the name was not found, and for a Unix socket. */
  readonly address: string | null
  /** Of the (last) try. */
  readonly encryption: Encryption

  constructor(target: AttemptTarget, failure: Failure, encryption: Encryption) {
    super(`${describeTarget(target)}${failure.message}`, { cause: failure.cause ?? failure })
    this.kind = failure.kind
    const { code } = (failure.cause ?? {}) as { code?: unknown }
    this.code = typeof code === 'string' ? code : undefined
    this.reason = failure.message
    this.host = target.host
    this.port = target.port
    this.address = target.address ?? null
    this.encryption = encryption
    // Its frames are those of this library, the same for every failure; the cause has the place where it began.
    this.stack = `${this.name}: ${this.message}`
  }

  override get name(): string {
    return 'AttemptError'
  }
}

export type Encryption = 'tls' | 'none'

/** The beginning of libpq's message; a name that was not found speaks for itself. */
function describeTarget({ host, port, address, socket }: AttemptTarget): string {
  if (socket !== undefined) return `connection to server on socket "${socket}" failed: `
  if (address === undefined) return ''
  const where = host === '' || host === address ? `"${address}"` : `"${host}" (${address})`
  return `connection to server at ${where}, port ${port} failed: `
}

/** What libpq says when the other side hangs up. */
export const CLOSED = 'server closed the connection unexpectedly'

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
  const said = NETWORK[code] ?? error.message
  if (code !== 'ECONNREFUSED' && code !== 'ENOENT') return new Failure('network', said, error)
  const where =
    target.socket === undefined
      ? 'on that host and accepting TCP/IP connections'
      : 'locally and accepting connections on that socket'
  return new Failure('network', `${said}\n\tIs the server running ${where}?`, error)
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
