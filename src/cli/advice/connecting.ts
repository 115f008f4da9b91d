/** What keeps a session from beginning before the server has judged the login: the network, files, and TLS. */
import { existsSync } from 'node:fs'
import { isFailure, on, originOf, when, where, type FailedAttempt, type Rules } from './rule.js'

const UNRESOLVED = /^could not translate host name/

const host = ({ error }: FailedAttempt) => error.host
const port = ({ error }: FailedAttempt) => error.port
const seconds = ({ plan }: FailedAttempt) => `${plan.connectTimeoutMillis / 1000} s`
const sslmode = ({ plan }: FailedAttempt) => plan.tls.mode

/** The host cannot be found or reached, or it does not answer. */
export const networkRules: Rules = {
  'name-timed-out': on('timeout', { reason: UNRESOLVED })`
    The name server did not answer within ${seconds}. Check the machine's DNS settings and network, or give
    the address with hostaddr.`,
  'accepts-and-is-silent': when((failed) => failed.reached && isFailure('timeout')(failed))`
    Something at ${where} accepted the connection and said nothing within ${seconds}. Another service may be
    there, or a proxy or forwarded port without a server behind it; a server that begins with TLS at once takes
    sslnegotiation=direct with sslmode=require. A PostgreSQL server that hangs does the same.`,
  'timed-out': on('timeout')`
    There was no answer from ${where} within ${seconds}. Usually a firewall drops the packets, or the address
    is wrong or of another network (a VPN?). If the server is only slow, raise connect_timeout.`,
  'unknown-host': on('network', { reason: UNRESOLVED, code: /^(?!EAI_AGAIN$)/ })`
    No address is known for "${host}" (from: ${originOf('host')}). Check the spelling, and whether the name is
    known in this network: names of containers and clusters are known only inside.`,
  'name-server-unavailable': on('network', { reason: UNRESOLVED })`
    "${host}" could not be looked up now: the name server cannot be reached. Check the machine's network and
    DNS settings, or give the address with hostaddr.`,
  'socket-refused': when(
    (failed) => failed.socket !== null && isFailure('network', { code: /^ECONNREFUSED$/ })(failed),
  )`
    The socket file ${({ socket }) => socket ?? ''} is there, but no server listens on it: it was left by one
    that is not running. Start the server.`,
  'connection-refused': on('network', { code: /^ECONNREFUSED$/ })`
    Nothing listens on port ${port} of ${({ error }) => error.address ?? error.host}. Check that the server
    runs, that the port is right (from: ${originOf('port')}), that listen_addresses in postgresql.conf
    includes this address, and that a container publishes the port.`,
  'socket-missing': on('network', { code: /^(?:ENOENT|ENOTDIR)$/ })`
    There is no socket file ${({ socket }) => socket ?? ''}. Check that the server runs, that its port is
    ${port}, and that the folder is one of its unix_socket_directories; or connect by TCP with host=localhost.`,
  'socket-permission': on('network', { code: /^EACCES$/ })`
    The operating system's user may not use ${where}. Check the permissions of the file and its folder
    (unix_socket_permissions), or connect by TCP with host=localhost.`,
  closed: on('network', { reason: /server closed the connection/ })`
    Something at ${where} accepted the connection and hung up. The server's log says why if it was PostgreSQL;
    otherwise another service, a proxy without a server behind it, or a firewall is there.`,
  unreachable: on('network')`
    There is no way to ${where} from here. Check the address, the network (a VPN?), and whether this machine
    has IPv6 if the address is one.`,
}

const wantsPassword = isFailure('policy', { reason: /no password supplied/ })

/** What was asked for is not met, or a password or a file is missing. */
export const policyRules: Rules = {
  'password-file-permissions': when((failed) => wantsPassword(failed) && failed.fileWarnings.length > 0)`
    The server wants a password, and the password file is not used:
    ${(failed) => failed.fileWarnings.join('; ')}. Repair it with: chmod 0600 ${passwordFile}`,
  'no-password': when(wantsPassword)`
    The server wants a password for "${({ plan }) => plan.user}" and none was given. Give it with PGPASSWORD,
    in the connection string, or in a password file: ${describeFile}. A line there is
    host:port:database:user:password.`,
  'root-certificate-missing': on('policy', { reason: /^root certificate file .* does not exist/ })`
    sslmode=${sslmode} (from: ${originOf('sslmode')}) needs to know whom to trust. Put the certificate of the
    authority that signed the server’s into that file or name it with sslrootcert; sslrootcert=system takes
    the authorities that the system trusts.`,
  'private-key': on('policy', { reason: /private key file/ })`
    The client’s certificate is of no use without its key. Name the key with sslkey, and let nobody but its
    owner read it: chmod 0600. sslcertmode=disable sends no certificate.`,
  'file-unreadable': on('policy', { reason: /^could not read/ })`
    Check the spelling of the path, and that the operating system’s user may read it.`,
  'tls-files': on('policy', { reason: /^could not set up TLS/ })`
    One of the files (sslrootcert, sslcert, sslkey, sslcrl) is not in the PEM format, the key does not fit the
    certificate, or the key is behind a password and sslpassword is missing or wrong.`,
  'host-name-missing': on('policy', { reason: /host name must be specified/ })`
    sslmode=verify-full compares the certificate with a name. Give host beside hostaddr.`,
  'channel-binding': on('policy', { reason: /channel binding/ })`
    channel_binding=require (from: ${originOf('channel_binding')}) needs TLS and a password that the server
    keeps as scram-sha-256. See password_encryption and pg_hba.conf there, or give channel_binding=prefer.`,
  'require-auth': on('policy', { reason: /^authentication method requirement/ })`
    The server asks for another way to log in than require_auth (from: ${originOf('require_auth')}) allows.
    Change the method in the server’s pg_hba.conf; if the server is the right one and may ask for it, change
    require_auth.`,
  'method-unsupported': on('policy', { reason: /not supported/ })`
    The server asks for a way to log in that this client does not have. Have a line for this user in
    pg_hba.conf with scram-sha-256, cert, or peer.`,
  policy: on('policy')`
    What the connection parameters ask for is not met; the message says what.`,
}

/** The session or what answers is not what was asked for. */
export const sessionRules: Rules = {
  'session-attributes': on('session')`
    target_session_attrs=${({ plan }) => plan.targetSessionAttrs} (from: ${originOf('target_session_attrs')})
    does not take this server. List all hosts of the cluster, so that the right one is among them; if they
    are, a failover may be under way, or default_transaction_read_only is on.`,
  'speaks-http': on('protocol', { reason: /SSL negotiation: H$/ })`
    What answers at ${where} speaks HTTP: a web server, or the web interface of a service. Check the host and
    the port.`,
  'speaks-tls': on('protocol', { reason: /SSL negotiation: 0x15$/ })`
    What answers at ${where} speaks TLS only. If it is PostgreSQL 17 or later, or a proxy for it, give
    sslnegotiation=direct with sslmode=require; otherwise another service is there.`,
  'not-postgresql': on('protocol')`
    What answers at ${where} does not speak PostgreSQL’s protocol as it should. Check the host and the port:
    another service may be there, or a proxy in between.`,
}

/** With `prefer` the failure of TLS may be followed by one without: it is in the reason all the same. */
const tls = (pattern: RegExp) => when((failed) => isTls(failed) && pattern.test(failed.error.reason))

/** The encryption cannot be agreed on, or the server's certificate is not accepted. */
export const tlsRules: Rules = {
  'certificate-name': tls(/does not match host name/)`
    The server's certificate is trusted, but made out to other names than "${host}" (host, from:
    ${originOf('host')}). Connect by one of its names, with hostaddr for the address if need be; or have a
    certificate made for this name. sslmode=verify-ca does without the comparison.`,
  'certificate-expired': tls(/certificate (?:has expired|is not yet valid)/)`
    The server’s certificate has expired or is not valid yet. Renew it, and check this machine’s clock.`,
  'certificate-revoked': tls(/certificate revoked|CRL/i)`
    The server’s certificate is on a revocation list (sslcrl, sslcrldir, ~/.postgresql/root.crl), or the list
    itself is out of date or of another authority. The server needs a new certificate, or this machine a new
    list.`,
  'certificate-untrusted': tls(/certificate verify failed/)`
    None of the authorities in ${rootCertificate} (sslrootcert, from: ${originOf('sslrootcert')}) has signed
    the server’s certificate. Put the certificate of the one that did into a file and name it with
    sslrootcert; sslrootcert=system takes the authorities that the system trusts.`,
  'tls-unsupported': tls(/server does not support SSL/)`
    The server does not encrypt, and sslmode=${sslmode} (from: ${originOf('sslmode')}) insists on it. Switch
    it on there with ssl = on and a certificate; or, in a network that you trust, give sslmode=prefer or
    disable.`,
  'client-certificate': tls(/unknown ca|certificate required|bad certificate|certificate unknown/i)`
    The server did not accept the client’s certificate. The one that sslcert names (default:
    ~/.postgresql/postgresql.crt) must be signed by an authority in the server’s ssl_ca_file.`,
  'tls-version': tls(/protocol version|unsupported protocol|no protocols available|wrong version/i)`
    The server and this client have no version of TLS in common, or what answers does not speak TLS. See
    ssl_min_protocol_version and ssl_max_protocol_version here and on the server; versions before 1.2 need an
    explicit ssl_min_protocol_version.`,
  'tls-direct': when((failed) => isTls(failed) && failed.plan.tls.negotiation === 'direct')`
    sslnegotiation=direct begins with TLS at once, which servers before PostgreSQL 17, those without ssl = on,
    and some poolers do not understand. Leave it out.`,
  'tls-failed': when(isTls)`
    The encryption broke off while it was agreed on; the server’s log may say why. A proxy or another service
    may be in between. sslmode=disable shows whether it works without, but sends everything in clear.`,
}

function isTls({ error }: FailedAttempt): boolean {
  return error.kind === 'tls' || /SSL error.*\((?:with|without) SSL\)/s.test(error.reason)
}

function rootCertificate({ plan }: FailedAttempt): string {
  const { rootCertificate } = plan.tls
  return rootCertificate === 'system' ? 'the system’s list' : rootCertificate.file
}

function passwordFile({ plan }: FailedAttempt): string {
  return plan.password.kind === 'file' ? plan.password.file : ''
}

function describeFile(failed: FailedAttempt): string {
  const { error, plan } = failed
  const file = `${passwordFile(failed)} (${originOf('passfile')(failed)})`
  if (!existsSync(passwordFile(failed))) return `${file} does not exist`
  const login = [error.host || error.address, error.port, plan.database, plan.user].join(':')
  return `${file} has no line for ${login}`
}
