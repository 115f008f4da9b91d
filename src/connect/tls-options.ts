import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import type { TlsPlan } from '../conninfo/tls-plan.js'
import { Failure } from './attempt-error.js'
import { readIdentity, readRevocations, readRoots } from './tls-files.js'

/** The protocol's name in TLS. */
export const PROTOCOL_NAME = 'postgresql'

/**
 * The options of `tls.connect` for a host, without the socket. Reads the files that the plan names.
 *
 * @param host the host as the user gave it: the name that the certificate must bear
 */
export function tlsOptions(plan: TlsPlan, host: string): ConnectionOptions {
  const name = isIP(host) === 0 ? host : ''
  if (plan.custom !== undefined) {
    return { host, ...(name === '' ? {} : { servername: name }), ...plan.custom() }
  }
  return {
    host,
    servername: plan.sendName ? name : '',
    ALPNProtocols: [PROTOCOL_NAME],
    ...verification(plan, host),
    ...readIdentity(plan),
    ...(plan.minVersion ? { minVersion: plan.minVersion } : {}),
    ...(plan.maxVersion ? { maxVersion: plan.maxVersion } : {}),
  }
}

/** Where there are trusted authorities the certificate is verified, whatever `sslmode` is: libpq's rule. */
function verification(plan: TlsPlan, host: string): ConnectionOptions {
  const roots = readRoots(plan)
  if (roots === null) return { rejectUnauthorized: false }
  if (plan.mode === 'verify-full' && host === '') {
    throw new Failure('policy', 'host name must be specified for a verified SSL connection')
  }
  const revocations = readRevocations(plan)
  return {
    ca: roots,
    ...(revocations.length > 0 ? { crl: revocations } : {}),
    rejectUnauthorized: true,
    checkServerIdentity: (_name, { raw }) => {
      const fault = plan.mode === 'verify-full' ? checkName(new X509Certificate(raw), host) : null
      return fault === null ? undefined : new Failure('tls', fault)
    },
  }
}

/**
 * Whether a certificate is made out to the host: one of its alternative names, or its common name when it has no
 * alternative names of the kind. A `*` stands for the whole of the leftmost label only.
 *
 * @returns null when it is, else why not
 * @see PostgreSQL manual, "Client Verification of Server Certificates" (libpq)
 */
function checkName(certificate: X509Certificate, host: string): string | null {
  const { subject, subjectAltName } = certificate
  const commonName = /^CN=(.*)$/m.exec(subject)?.[1] ?? ''
  const options = { partialWildcards: false, multiLabelWildcards: false, subject: 'default' } as const
  const matches =
    isIP(host) === 0
      ? certificate.checkHost(host, options) !== undefined
      : certificate.checkIP(host) !== undefined || (subjectAltName === undefined && commonName === host)
  if (matches) return null
  // The first name, and how many more there are: libpq's way to say it.
  const names = subjectAltName?.split(', ').map((name) => name.replace(/^[A-Za-z ]+:/, '')) ?? [commonName]
  const others = names.length - 1
  const more = others === 0 ? '' : ` (and ${others} other ${others === 1 ? 'name' : 'names'})`
  return `server certificate for "${names[0]}"${more} does not match host name "${host}"`
}
