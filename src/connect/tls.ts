import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { rootCertificates, type ConnectionOptions, type SecureContextOptions } from 'node:tls'
import type { FileChoice, TlsPlan } from '../conninfo/tls-plan.js'
import { Failure } from './failures.js'

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

// ---- files

/** Where systems keep the authorities that they trust, in one file. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
] as const

/**
 * The content of a file; null when it is not there. One that the user named must be there where `sslmode` promises
 * encryption; `allow` and `prefer` go on without it, as with libpq.
 */
function readChoice({ file, given }: FileChoice, what: string, { mode }: TlsPlan): Buffer | null {
  const optional = !given || mode === 'allow' || mode === 'prefer'
  if (optional && !existsSync(file)) return null
  try {
    return readFileSync(file)
  } catch (error) {
    throw new Failure('policy', `could not read ${what} "${file}": ${(error as Error).message}`, error)
  }
}

/** The authorities to verify the server's certificate against; null when there are none. */
function readRoots(plan: TlsPlan): Buffer | string[] | null {
  const { mode, rootCertificate } = plan
  if (rootCertificate === 'system') return systemRoots()
  if (mode.startsWith('verify') && !existsSync(rootCertificate.file)) {
    throw new Failure(
      'policy',
      `root certificate file "${rootCertificate.file}" does not exist\n` +
        "Either provide the file, use the system's trusted roots with sslrootcert=system, " +
        'or change sslmode to disable server certificate verification.',
    )
  }
  return readChoice(rootCertificate, 'root certificate file', plan)
}

/** What OpenSSL would trust: the system's authorities, or else those that Node brings. */
function systemRoots(): Buffer | string[] {
  const bundle = [process.env['SSL_CERT_FILE'], ...SYSTEM_BUNDLES].find((file) => file && existsSync(file))
  return bundle === undefined ? [...rootCertificates] : readFileSync(bundle)
}

function readRevocations(plan: TlsPlan): Buffer[] {
  const list = readChoice(plan.revocationList, 'certificate revocation list', plan)
  return [...(list === null ? [] : [list]), ...readDirectory(plan.revocationDirectory)]
}

/** The files that `openssl rehash` names: eight hexadecimal digits, `.r`, a number. */
function readDirectory(directory: string): Buffer[] {
  if (directory === '') return []
  try {
    const files = readdirSync(directory).filter((file) => /^[0-9a-f]{8}\.r\d+$/.test(file))
    return files.map((file) => readFileSync(join(directory, file)))
  } catch (error) {
    throw new Failure('policy', `could not read sslcrldir "${directory}": ${(error as Error).message}`, error)
  }
}

/** The client's certificate and its key; null when there is none. */
function readIdentity(plan: TlsPlan): SecureContextOptions | null {
  const { certificate, key, keyPassword } = plan
  const cert = certificate && readChoice(certificate, 'certificate file', plan)
  if (cert === null) return null
  if (!existsSync(key.file)) {
    throw new Failure('policy', `certificate present, but not private key file "${key.file}"`)
  }
  checkKeyAccess(key.file)
  return {
    cert,
    key: readChoice(key, 'private key file', plan)!,
    ...(keyPassword ? { passphrase: keyPassword.reveal() } : {}),
  }
}

/** A key that others can read is not used; one that root owns may be shared with a group. */
function checkKeyAccess(file: string): void {
  if (process.platform === 'win32') return
  const { mode, uid } = statSync(file)
  if ((mode & (uid === 0 ? 0o037 : 0o077)) === 0) return
  throw new Failure(
    'policy',
    `private key file "${file}" has group or world access; file must have permissions u=rw (0600) or less ` +
      'if owned by the current user, or permissions u=rw,g=r (0640) or less if owned by root',
  )
}
