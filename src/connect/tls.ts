import { createPrivateKey, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { rootCertificates, type ConnectionOptions, type SecureContextOptions } from 'node:tls'
import type { FileChoice, TlsPlan } from '../conninfo/tls-plan.js'
import { faultOfName } from './certificate-names.js'
import { Failure } from './failures.js'
import { requireRevocationChecks } from './revocations.js'

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
    const custom = plan.custom()
    if (custom.crl) requireRevocationChecks(process.versions)
    return { host, ...(name === '' ? {} : { servername: name }), ...custom }
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
  if (revocations.length > 0) requireRevocationChecks(process.versions)
  return {
    ca: roots,
    ...(revocations.length > 0 ? { crl: revocations } : {}),
    rejectUnauthorized: true,
    checkServerIdentity: (_name, { raw }) => {
      const fault = plan.mode === 'verify-full' ? faultOfName(new X509Certificate(raw), host) : null
      return fault === null ? undefined : new Failure('tls', fault)
    },
  }
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

/** The default list counts only where nothing is named. */
function readRevocations(plan: TlsPlan): Buffer[] {
  const { revocationList, revocationDirectory } = plan
  const listed = revocationList.given || revocationDirectory === ''
  const list = listed ? readChoice(revocationList, 'certificate revocation list', plan) : null
  return [...(list === null ? [] : [list]), ...readDirectory(revocationDirectory)]
}

/** The files that `openssl rehash` names: eight hexadecimal digits, `.r`, a number. */
function readDirectory(directory: string): Buffer[] {
  if (directory === '') return []
  const lists = readLists(directory)
  if (lists.length > 0) return lists
  // OpenSSL would look for one, and not find it. Without any, Node would not look.
  throw new Failure(
    'policy',
    `sslcrldir "${directory}" holds no certificate revocation list, so that no certificate can be checked; ` +
      'the files must be named as "openssl rehash" names them',
  )
}

function readLists(directory: string): Buffer[] {
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
    key: asPEM(readChoice(key, 'private key file', plan)!),
    ...(keyPassword ? { passphrase: keyPassword.reveal() } : {}),
  }
}

/** A key may be in DER, too, as one that is made for Java is; Node takes PEM. */
function asPEM(key: Buffer): Buffer | string {
  if (key.includes('-----BEGIN')) return key
  for (const type of ['pkcs8', 'pkcs1', 'sec1'] as const) {
    try {
      return createPrivateKey({ key, format: 'der', type }).export({ format: 'pem', type: 'pkcs8' })
    } catch {
      // It is of another type, or no key at all, which Node says better.
    }
  }
  return key
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
