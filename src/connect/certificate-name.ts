import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'

/**
 * Whether a certificate is made out to the host: one of its alternative names, or its common name when it has no
 * alternative names of the kind. A `*` stands for the whole of the leftmost label only.
 *
 * @returns null when it is, else why not
 * @see PostgreSQL manual, "Client Verification of Server Certificates" (libpq)
 */
export function checkCertificateName(der: Buffer, host: string): string | null {
  const certificate = new X509Certificate(der)
  const options = { partialWildcards: false, multiLabelWildcards: false } as const
  const matches =
    isIP(host) === 0
      ? certificate.checkHost(host, { ...options, subject: 'default' }) !== undefined
      : certificate.checkIP(host) !== undefined ||
        (certificate.subjectAltName === undefined && commonName(certificate) === host)
  return matches ? null : `server certificate for ${names(certificate)} does not match host name "${host}"`
}

function commonName(certificate: X509Certificate): string {
  return /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? ''
}

/** The first name, and how many more there are: libpq's way to say it. */
function names(certificate: X509Certificate): string {
  const alternatives = certificate.subjectAltName?.split(', ') ?? []
  const [first, ...rest] = alternatives.map((name) => name.replace(/^[A-Za-z ]+:/, ''))
  if (first === undefined) return `"${commonName(certificate)}"`
  if (rest.length === 0) return `"${first}"`
  return `"${first}" (and ${rest.length} other ${rest.length === 1 ? 'name' : 'names'})`
}
