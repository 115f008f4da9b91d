import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import type pg from 'pg'
import type { OpenedClient, TlsFacts } from '../connect/index.js'
import { abortable } from '../connect/with-deadline.js'
import { roundMillis, type CertificateFacts, type ConnectionFacts, type EncryptionFacts } from './report.js'

const SAMPLES = 9

/** Since this version the server says itself how the user logged in. */
const KNOWS_SYSTEM_USER = 160_000

type Ask = (text: string) => Promise<Record<string, unknown>>

/**
 * Asks the server about the session. What it does not answer (behind some poolers) is null.
 *
 * @throws the signal's reason, or the error of a connection that broke
 */
export async function examine(opened: OpenedClient, signal: AbortSignal): Promise<ConnectionFacts> {
  const { session, client, target } = opened
  const ask: Ask = (text) => askServer(client, text, signal)
  const { whoami, systemUser } = await askWho(ask)
  return {
    serverVersion: session.serverVersion,
    tls: session.tls && describeTls(session.tls, target.host),
    authentication: { asked: session.loginMethod, systemUser },
    role: {
      current: text(whoami['current']),
      session: text(whoami['session']),
      superuser: flag(whoami['superuser'] ?? session.parameters['is_superuser']),
    },
    database: text(whoami['database']),
    readOnly: flag(whoami['read_only']) ?? session.defaultReadOnly,
    inRecovery: flag(whoami['in_recovery']) ?? session.inHotStandby,
    roundTrip: await measure(ask),
  }
}

async function askWho(ask: Ask): Promise<{ whoami: Record<string, unknown>; systemUser: string | null }> {
  const whoami = await ask(
    'SELECT current_user AS current, session_user AS session, pg_catalog.current_database() AS database, ' +
      'pg_catalog.pg_is_in_recovery() AS in_recovery, ' +
      "pg_catalog.current_setting('transaction_read_only') AS read_only, " +
      "pg_catalog.current_setting('is_superuser') AS superuser, " +
      "pg_catalog.current_setting('server_version_num') AS version",
  )
  const knows = Number(whoami['version']) >= KNOWS_SYSTEM_USER
  const { method } = knows ? await ask('SELECT system_user AS method') : {}
  return { whoami, systemUser: text(method) }
}

/** The first row; an empty one when the server refuses the question. */
async function askServer(
  client: pg.Client,
  statement: string,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  try {
    const { rows } = await abortable(signal, client.query<Record<string, unknown>>(statement))
    return rows[0] ?? {}
  } catch (error) {
    if (isAnswer(error)) return {}
    throw error
  }
}

/** Whether the server said no, and the connection goes on. */
function isAnswer(error: unknown): boolean {
  const { severity } = error as { severity?: unknown }
  return severity === 'ERROR'
}

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

function describeTls(tls: TlsFacts, host: string): EncryptionFacts {
  const { protocol, cipher, verified, certificate } = tls
  return {
    protocol,
    cipher,
    verified,
    certificate: certificate && describeCertificate(certificate, host),
  }
}

function describeCertificate(
  { subject, issuer, names, validFrom, validTo, fingerprint }: NonNullable<TlsFacts['certificate']>,
  host: string,
): CertificateFacts {
  return {
    subject: onOneLine(subject),
    issuer: onOneLine(issuer),
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

/** A distinguished name has a line for each of its parts. */
function onOneLine(name: string): string {
  return name.replace(/\n/g, ', ')
}
