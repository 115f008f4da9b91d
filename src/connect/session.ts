/** What the server says while it lets a client in. */
import type { X509Certificate } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import type { AuthMethod, ConnectPlan } from '../conninfo/plan.js'
import type { DriverConnection, ParameterStatus } from '../pg/driver.js'
import { Failure, type Try } from './failures.js'

/** How the server let the user in. `'none'`: it asked for nothing (trust, peer, a client certificate). */
export type LoginMethod = 'none' | 'password' | 'md5' | 'scram-sha-256' | 'scram-sha-256-plus'

/**
 * Listens to what the server asks for during authentication, before pg answers it, and finds what `require_auth`
 * and `channel_binding` forbid.
 */
export class AuthWatch {
  method: LoginMethod = 'none'
  violation: Failure | null = null
  /** The server said that authentication is over. */
  accepted = false
  /** The server proved that it knows the password, too. */
  #proven = false
  readonly #plan: ConnectPlan
  readonly #isEncrypted: boolean

  constructor(connection: DriverConnection, { plan, encryption }: Try) {
    this.#plan = plan
    this.#isEncrypted = encryption === 'tls'
    connection
      .on('authenticationCleartextPassword', () =>
        this.#asked('password', 'server requested a cleartext password'),
      )
      .on('authenticationMD5Password', () => this.#asked('md5', 'server requested a hashed password'))
      .on('authenticationSASL', ({ mechanisms }: { mechanisms: string[] }) => this.#askedSasl(mechanisms))
      .on('authenticationSASLFinal', () => (this.#proven = true))
      .on('authenticationOk', () => this.#over())
  }

  #asked(method: LoginMethod & AuthMethod, what: string): void {
    this.method = method
    this.#require(method, what)
    if (this.#plan.channelBinding === 'require' && method !== 'scram-sha-256') {
      this.#forbid("channel binding required but not supported by server's authentication request")
    }
  }

  #askedSasl(mechanisms: readonly string[]): void {
    const { channelBinding } = this.#plan
    const offersBinding = mechanisms.includes('SCRAM-SHA-256-PLUS')
    if (channelBinding === 'require' && !this.#isEncrypted) {
      this.#forbid('channel binding required, but SSL not in use')
    } else if (channelBinding === 'require' && !offersBinding) {
      const missing = 'an authentication method that supports channel binding'
      this.#forbid(`channel binding is required, but server did not offer ${missing}`)
    }
    this.#asked('scram-sha-256', 'server requested SCRAM-SHA-256 authentication')
    const bindsChannel = this.#isEncrypted && offersBinding && channelBinding !== 'disable'
    if (bindsChannel) this.method = 'scram-sha-256-plus'
  }

  #over(): void {
    this.accepted = true
    const isBound = this.method === 'scram-sha-256-plus' && this.#proven
    if (this.#plan.channelBinding === 'require' && !isBound) {
      this.#forbid('channel binding required, but server authenticated client without channel binding')
    }
    const isUnproven = this.method.startsWith('scram') && !this.#proven
    if (this.method === 'none' || isUnproven) {
      this.#require('none', 'server did not complete authentication')
    }
  }

  #require(method: AuthMethod, what: string): void {
    const { requireAuth } = this.#plan
    if (requireAuth === null || requireAuth.allowed.has(method)) return
    this.#forbid(`authentication method requirement "${requireAuth.text}" failed: ${what}`)
  }

  #forbid(reason: string): void {
    this.violation ??= new Failure('policy', reason)
  }
}

/** Collects the settings that the server reports; `stop` ends it. */
export function collectParameters(connection: DriverConnection) {
  const parameters: Record<string, string> = {}
  const onStatus = ({ parameterName, parameterValue }: ParameterStatus): void => {
    parameters[parameterName] = parameterValue
  }
  connection.on('parameterStatus', onStatus)
  return { parameters, stop: () => connection.off('parameterStatus', onStatus) }
}

export type SessionFacts = Readonly<ReturnType<typeof sessionFacts>>

export function sessionFacts(
  parameters: Readonly<Record<string, string>>,
  loginMethod: LoginMethod,
  stream: Duplex,
) {
  const flag = (name: string) => (parameters[name] === undefined ? null : parameters[name] === 'on')
  return {
    /** As in `18.1`. */
    serverVersion: parameters['server_version'] ?? '',
    loginMethod,
    tls: stream instanceof TLSSocket ? tlsFacts(stream) : null,
    /** Whether the server is a standby; null when it did not say (before PostgreSQL 14, behind some poolers). */
    inHotStandby: flag('in_hot_standby'),
    /** Whether transactions are read-only by default; null when it did not say. */
    defaultReadOnly: flag('default_transaction_read_only'),
    parameters,
  }
}

export type TlsFacts = Readonly<ReturnType<typeof tlsFacts>>

function tlsFacts(socket: TLSSocket) {
  const certificate = socket.getPeerX509Certificate()
  return {
    /** `TLSv1.2` or `TLSv1.3`. */
    protocol: socket.getProtocol() ?? 'unknown',
    cipher: socket.getCipher().name,
    /** Whether the server's certificate was verified. */
    verified: socket.authorized,
    certificate: certificate === undefined ? null : certificateFacts(certificate),
  }
}

function certificateFacts(certificate: X509Certificate) {
  const { subject, issuer, subjectAltName, validFrom, validTo, fingerprint256 } = certificate
  // The names that it is made out to, and its SHA-256.
  return { subject, issuer, names: subjectAltName ?? '', validFrom, validTo, fingerprint: fingerprint256 }
}
