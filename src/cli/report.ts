import type { Encryption, LoginMethod, TlsFacts } from '../connect/index.js'
import type { KeywordEffect } from '../conninfo/keywords.js'
import type { ParameterSource } from '../conninfo/resolve.js'

/** What went wrong, and what to do about it. */
export interface Problem {
  /** A stable name for the kind of problem, such as `wrong-password`. */
  readonly code: string
  /** What libpq would say. */
  readonly message: string
  /** What to do. */
  readonly advice: string
}

/** A connection parameter that has a value. */
export interface ParameterFacts {
  readonly name: string
  /** `***` for a secret. */
  readonly value: string
  readonly source: ParameterSource
  /** The environment variable or the file; null where there is nothing to add. */
  readonly detail: string | null
  readonly effect: KeywordEffect
}

/** One host, or one address of it, and what came of trying it. */
export interface AttemptFacts {
  readonly host: string
  readonly port: number
  /** The network address; null for a Unix socket, and when there was none to try. */
  readonly address: string | null
  /** The Unix socket, when it is one. */
  readonly socket: string | null
  readonly outcome: 'connected' | 'failed' | 'not tried'
  /** Whether the (last) try was encrypted; null when it did not come to that. */
  readonly encryption: Encryption | null
  readonly millis: number | null
  readonly problem: Problem | null
}

/** The server's certificate. */
export interface CertificateFacts extends Omit<NonNullable<TlsFacts['certificate']>, 'validTo'> {
  /** ISO 8601, as `validFrom`. */
  readonly validUntil: string
  /** Whether it is made out to the host that was asked for; null when only an address was given. */
  readonly matchesHost: boolean | null
}

/** How the connection is encrypted. */
export interface EncryptionFacts extends Omit<TlsFacts, 'certificate'> {
  readonly certificate: CertificateFacts | null
}

/** What is known of the connection. A null is something that the server did not say. */
export interface ConnectionFacts {
  readonly serverVersion: string
  readonly tls: EncryptionFacts | null
  readonly authentication: {
    /** What the server asked for. */
    readonly asked: LoginMethod
    /** The server's own account, since PostgreSQL 16: method and identity, as in `peer:ann`. */
    readonly systemUser: string | null
  }
  readonly role: {
    /** The role whose rights hold. */
    readonly current: string | null
    /** The role that logged in. */
    readonly session: string | null
    readonly superuser: boolean | null
  }
  readonly database: string | null
  /** Whether a pooler is in between: another process answers than logged in, or the port is PgBouncer's, 6432. */
  readonly pooler: boolean | null
  /** Whether transactions are read-only. */
  readonly readOnly: boolean | null
  /** Whether the server is a standby. */
  readonly inRecovery: boolean | null
  /** How long `SELECT 1` takes. */
  readonly roundTrip: { readonly medianMillis: number; readonly samples: number } | null
}

/** What the check found out; `--json` prints it as it is. */
export interface Report {
  readonly ok: boolean
  /** In libpq's order; empty when the connection string could not be understood. */
  readonly parameters: readonly ParameterFacts[]
  /** In the order of trying, then the hosts that were not tried. */
  readonly attempts: readonly AttemptFacts[]
  readonly connection: ConnectionFacts | null
  /** What kept the check from succeeding, the last problem if there are several; null if it succeeded. */
  readonly problem: Problem | null
  /** What works, and yet is probably not what is wanted. */
  readonly warnings: readonly string[]
}

/** Milliseconds with as many decimals as a clock is worth. */
export function roundMillis(millis: number): number {
  return Math.round(millis * 1000) / 1000
}
