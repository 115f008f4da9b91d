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

/** Whom an attempt went to. */
export interface AttemptTarget {
  /** The host as it was given. */
  readonly host: string
  readonly port: number
  /** The network address, once it is known. */
  readonly address?: string
  /** The Unix socket, when there is one instead of an address. */
  readonly socket?: string
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
  /** Whether the (last) try used encryption. */
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
  }

  override get name(): string {
    return 'AttemptError'
  }
}

/** Whether a connection is encrypted. */
export type Encryption = 'tls' | 'none'

/** The beginning of libpq's message; a name that was not found speaks for itself. */
function describeTarget({ host, port, address, socket }: AttemptTarget): string {
  if (socket !== undefined) return `connection to server on socket "${socket}" failed: `
  if (address === undefined) return ''
  const where = host === '' || host === address ? `"${address}"` : `"${host}" (${address})`
  return `connection to server at ${where}, port ${port} failed: `
}
