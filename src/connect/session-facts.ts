import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import type { AuthWatch, LoginMethod } from './auth-watch.js'
import type { DriverConnection } from '../pg/driver.js'

/** The encryption of a session. */
export interface TlsFacts {
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly protocol: string
  readonly cipher: string
  /** Whether the server's certificate was verified. */
  readonly verified: boolean
  readonly certificate: {
    readonly subject: string
    readonly issuer: string
    /** The names that it is made out to. */
    readonly names: string
    readonly validFrom: string
    readonly validTo: string
    /** SHA-256 of the certificate. */
    readonly fingerprint: string
  } | null
}

/** What the server said about the session when it was opened. */
export interface SessionFacts {
  /** As in `18.1`. */
  readonly serverVersion: string
  /** How the server let the user in. */
  readonly loginMethod: LoginMethod
  readonly tls: TlsFacts | null
  /** Whether the server is a standby; null when it did not say (before PostgreSQL 14, behind some poolers). */
  readonly inHotStandby: boolean | null
  /** Whether transactions are read-only by default; null when it did not say. */
  readonly defaultReadOnly: boolean | null
  /** The settings that the server reported. */
  readonly parameters: Readonly<Record<string, string>>
}

/** Collects the settings that the server reports; `stop` ends it. */
export function collectParameters(connection: DriverConnection): {
  parameters: Record<string, string>
  stop: () => void
} {
  const parameters: Record<string, string> = {}
  const onStatus = (message: { parameterName: string; parameterValue: string }) => {
    parameters[message.parameterName] = message.parameterValue
  }
  connection.on('parameterStatus', onStatus)
  return { parameters, stop: () => connection.off('parameterStatus', onStatus) }
}

/** Puts together what is known of a session that is open now. */
export function sessionFacts(
  parameters: Record<string, string>,
  watch: AuthWatch,
  stream: Duplex,
): SessionFacts {
  const flag = (name: string) => (parameters[name] === undefined ? null : parameters[name] === 'on')
  return {
    serverVersion: parameters['server_version'] ?? '',
    loginMethod: watch.method,
    tls: stream instanceof TLSSocket ? tlsFacts(stream) : null,
    inHotStandby: flag('in_hot_standby'),
    defaultReadOnly: flag('default_transaction_read_only'),
    parameters,
  }
}

function tlsFacts(socket: TLSSocket): TlsFacts {
  const certificate = socket.getPeerX509Certificate()
  return {
    protocol: socket.getProtocol() ?? 'unknown',
    cipher: socket.getCipher().name,
    verified: socket.authorized,
    certificate:
      certificate === undefined
        ? null
        : {
            subject: certificate.subject,
            issuer: certificate.issuer,
            names: certificate.subjectAltName ?? '',
            validFrom: certificate.validFrom,
            validTo: certificate.validTo,
            fingerprint: certificate.fingerprint256,
          },
  }
}
