import { existsSync } from 'node:fs'
import { isFailure, originOf, whereOf, type FailedAttempt, type Rules } from './rule.js'

const wantsPassword = isFailure('policy', { reason: /no password supplied/ })

/** What was asked for is not met, or a password or a file is missing. */
export const policyRules: Rules = {
  'password-file-permissions': [
    (failed) => wantsPassword(failed) && failed.fileWarnings.length > 0,
    (failed) =>
      `The server wants a password, and the password file is not used: ${failed.fileWarnings.join('; ')}. Repair it ` +
      `with: chmod 0600 ${passwordFile(failed)}`,
  ],
  'no-password': [
    wantsPassword,
    (failed) =>
      `The server wants a password for "${failed.plan.user}" and none was given. Give it with PGPASSWORD, in the ` +
      `connection string, or in a password file: ${describeFile(failed)}. A line there is ` +
      'host:port:database:user:password.',
  ],
  'root-certificate-missing': [
    isFailure('policy', { reason: /^root certificate file .* does not exist/ }),
    (failed) =>
      `sslmode=${failed.plan.tls.mode} (from: ${originOf(failed, 'sslmode')}) needs to know whom to trust. Put the ` +
      'certificate of the authority that signed the server’s into that file or name it with sslrootcert; ' +
      'sslrootcert=system takes the authorities that the system trusts.',
  ],
  'private-key': [
    isFailure('policy', { reason: /private key file/ }),
    'The client’s certificate is of no use without its key. Name the key with sslkey, and let nobody but its owner ' +
      'read it: chmod 0600. sslcertmode=disable sends no certificate.',
  ],
  'file-unreadable': [
    isFailure('policy', { reason: /^could not read/ }),
    'Check the spelling of the path, and that the operating system’s user may read it.',
  ],
  'tls-files': [
    isFailure('policy', { reason: /^could not set up TLS/ }),
    'One of the files (sslrootcert, sslcert, sslkey, sslcrl) is not in the PEM format, the key does not fit the ' +
      'certificate, or the key is behind a password and sslpassword is missing or wrong.',
  ],
  'host-name-missing': [
    isFailure('policy', { reason: /host name must be specified/ }),
    'sslmode=verify-full compares the certificate with a name. Give host beside hostaddr.',
  ],
  'channel-binding': [
    isFailure('policy', { reason: /channel binding/ }),
    (failed) =>
      `channel_binding=require (from: ${originOf(failed, 'channel_binding')}) needs TLS and a password that the ` +
      'server keeps as scram-sha-256. See password_encryption and pg_hba.conf there, or give channel_binding=prefer.',
  ],
  'require-auth': [
    isFailure('policy', { reason: /^authentication method requirement/ }),
    (failed) =>
      `The server asks for another way to log in than require_auth (from: ${originOf(failed, 'require_auth')}) ` +
      'allows. Change the method in the server’s pg_hba.conf; if the server is the right one and may ask for it, ' +
      'change require_auth.',
  ],
  'method-unsupported': [
    isFailure('policy', { reason: /not supported/ }),
    'The server asks for a way to log in that this client does not have. Have a line for this user in pg_hba.conf ' +
      'with scram-sha-256, cert, or peer.',
  ],
  policy: [isFailure('policy'), 'What the connection parameters ask for is not met; the message says what.'],
}

/** The session or what answers is not what was asked for. */
export const sessionRules: Rules = {
  'session-attributes': [
    isFailure('session'),
    (failed) =>
      `target_session_attrs=${failed.plan.targetSessionAttrs} (from: ${originOf(failed, 'target_session_attrs')}) ` +
      'does not take this server. List all hosts of the cluster, so that the right one is among them; if they are, ' +
      'a failover may be under way, or default_transaction_read_only is on.',
  ],
  'not-postgresql': [
    isFailure('protocol'),
    (failed) =>
      `What answers at ${whereOf(failed)} does not speak PostgreSQL’s protocol as it should. Check the host and the ` +
      'port: another service may be there, or a proxy in between.',
  ],
}

function passwordFile({ plan }: FailedAttempt): string {
  return plan.password.kind === 'file' ? plan.password.file : ''
}

function describeFile(failed: FailedAttempt): string {
  const file = passwordFile(failed)
  const { error, plan } = failed
  if (!existsSync(file)) return `${file} (${originOf(failed, 'passfile')}) does not exist`
  const login = [error.host || error.address, error.port, plan.database, plan.user].join(':')
  return `${file} (${originOf(failed, 'passfile')}) has no line for ${login}`
}
