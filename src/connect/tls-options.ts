import { appendFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import type { TlsPlan } from '../conninfo/tls-plan.js'
import { Failure } from './attempt-error.js'
import { checkCertificateName } from './certificate-name.js'
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
    ...identity(plan),
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
    ca: Buffer.isBuffer(roots) ? roots : [...roots],
    ...(revocations.length > 0 ? { crl: revocations } : {}),
    rejectUnauthorized: true,
    checkServerIdentity: (_name, { raw }) => {
      const fault = plan.mode === 'verify-full' ? checkCertificateName(raw, host) : null
      return fault === null ? undefined : new Failure('tls', fault)
    },
  }
}

function identity(plan: TlsPlan): ConnectionOptions {
  const found = readIdentity(plan)
  if (found === null) return {}
  return { ...found, ...(plan.keyPassword ? { passphrase: plan.keyPassword.reveal() } : {}) }
}

/** Appends a line of session keys to the file that `sslkeylogfile` names. */
export function logKeys(file: string, line: Buffer): void {
  appendFileSync(file, line, { mode: 0o600 })
}
