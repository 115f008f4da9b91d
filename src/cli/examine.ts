import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import type { OpenedClient, TlsFacts } from '../connect/index.js'
import { abortable } from '../connect/waiting.js'
import { internals } from '../pg/driver.js'
import { roundMillis, type CertificateFacts, type ConnectionFacts } from './report.js'

/** How often the round trip is measured. */
const SAMPLES = 9

/** Gives the first row; an empty one when the server refuses the question. */
type Ask = (text: string) => Promise<Record<string, unknown>>

/**
 * Asks the server about the session. What it does not answer (behind some poolers) is null.
 *
 * @throws the signal's reason, or the error of a connection that broke
 */
export async function examine(opened: OpenedClient, signal: AbortSignal): Promise<ConnectionFacts> {
  const { session, client, target } = opened
  const ask: Ask = async (text) => {
    try {
      const { rows } = await abortable(signal, client.query<Record<string, unknown>>(text))
      return rows[0] ?? {}
    } catch (error) {
      // The server said no, and the connection goes on.
      if ((error as { severity?: unknown }).severity === 'ERROR') return {}
      throw error
    }
  }
  const whoami = await ask(WHOAMI)
  // Since PostgreSQL 16 the server says how the user logged in.
  const { method } = Number(whoami['version']) >= 160_000 ? await ask('SELECT system_user AS method') : {}
  return {
    serverVersion: session.serverVersion,
    tls: session.tls && {
      ...session.tls,
      certificate: session.tls.certificate && describeCertificate(session.tls.certificate, target.host),
    },
    authentication: { asked: session.loginMethod, systemUser: text(method) },
    role: {
      current: text(whoami['current']),
      session: text(whoami['session']),
      superuser: flag(whoami['superuser'] ?? session.parameters['is_superuser']),
    },
    database: text(whoami['database']),
    pooler: isPooled(client, target.port, whoami['pid']),
    readOnly: flag(whoami['read_only']) ?? session.defaultReadOnly,
    inRecovery: flag(whoami['in_recovery']) ?? session.inHotStandby,
    roundTrip: await measure(ask),
  }
}

const POOLER_PORT = 6432

/** Behind a pooler another process answers than the one that was named at the login. */
function isPooled(client: OpenedClient['client'], port: number, pid: unknown): boolean | null {
  if (port === POOLER_PORT) return true
  return typeof pid === 'number' ? pid !== internals(client).processID : null
}

const WHOAMI = `SELECT pg_catalog.pg_backend_pid() AS pid, current_user AS current, session_user AS session, pg_catalog.current_database() AS database,
  pg_catalog.pg_is_in_recovery() AS in_recovery,
  pg_catalog.current_setting('transaction_read_only') AS read_only,
  pg_catalog.current_setting('is_superuser') AS superuser,
  pg_catalog.current_setting('server_version_num') AS version`

async function measure(ask: Ask): Promise<ConnectionFacts['roundTrip']> {
  const millis: number[] = []
  while (millis.length < SAMPLES) {
    const started = performance.now()
    const row = await ask('SELECT 1 AS one')
    if (row['one'] === undefined) return null
    millis.push(performance.now() - started)
  }
  millis.sort((a, b) => a - b)
  return { medianMillis: roundMillis(millis[(SAMPLES - 1) / 2]!), samples: SAMPLES }
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function flag(value: unknown): boolean | null {
  return typeof value === 'boolean' ? value : typeof value === 'string' ? value === 'on' : null
}

function describeCertificate(
  { subject, issuer, names, validFrom, validTo, fingerprint }: NonNullable<TlsFacts['certificate']>,
  host: string,
): CertificateFacts {
  return {
    // A distinguished name has a line for each of its parts.
    subject: subject.replace(/\n/g, ', '),
    issuer: issuer.replace(/\n/g, ', '),
    names,
    validFrom: new Date(validFrom).toISOString(),
    validUntil: new Date(validTo).toISOString(),
    matchesHost: host === '' ? null : matches(subject, names, host),
    fingerprint,
  }
}

/** By the names as they are known; that of `sslmode=verify-full` was made before this, on the certificate itself. */
function matches(subject: string, names: string, host: string): boolean {
  const CN = /^CN=(.*)$/m.exec(subject)?.[1] ?? ''
  const known = { subject: { CN }, ...(names === '' ? {} : { subjectaltname: names }) }
  return checkServerIdentity(host, known as PeerCertificate) === undefined
}
