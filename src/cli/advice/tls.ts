import { originOf, type FailedAttempt, type Rules } from './rule.js'

/** With `prefer` the failure of TLS may be followed by one without: it is in the reason all the same. */
const says = (pattern: RegExp) => (failed: FailedAttempt) =>
  isTls(failed) && pattern.test(failed.error.reason)

function isTls({ error }: FailedAttempt): boolean {
  return error.kind === 'tls' || /SSL error.*\((?:with|without) SSL\)/s.test(error.reason)
}

function rootOf({ plan }: FailedAttempt): string {
  const { rootCertificate } = plan.tls
  return rootCertificate === 'system' ? 'the system’s list' : rootCertificate.file
}

/** The encryption cannot be agreed on, or the server's certificate is not accepted. */
export const tlsRules: Rules = {
  'certificate-name': [
    says(/does not match host name/),
    (failed) =>
      `The server's certificate is trusted, but made out to other names than "${failed.error.host}" (host, from: ` +
      `${originOf(failed, 'host')}). Connect by one of its names, with hostaddr for the address if need be; or have ` +
      'a certificate made for this name. sslmode=verify-ca does without the comparison.',
  ],
  'certificate-expired': [
    says(/certificate (?:has expired|is not yet valid)/),
    'The server’s certificate has expired or is not valid yet. Renew it, and check this machine’s clock.',
  ],
  'certificate-revoked': [
    says(/certificate revoked|CRL/i),
    'The server’s certificate is on a revocation list (sslcrl, sslcrldir, ~/.postgresql/root.crl), or the list ' +
      'itself is out of date or of another authority. The server needs a new certificate, or this machine a new list.',
  ],
  'certificate-untrusted': [
    says(/certificate verify failed/),
    (failed) =>
      `None of the authorities in ${rootOf(failed)} (sslrootcert, from: ${originOf(failed, 'sslrootcert')}) has ` +
      'signed the server’s certificate. Put the certificate of the one that did into a file and name it with ' +
      'sslrootcert; sslrootcert=system takes the authorities that the system trusts.',
  ],
  'tls-unsupported': [
    says(/server does not support SSL/),
    (failed) =>
      `The server does not encrypt, and sslmode=${failed.plan.tls.mode} (from: ${originOf(failed, 'sslmode')}) ` +
      'insists on it. Switch it on there with ssl = on and a certificate; or, in a network that you trust, give ' +
      'sslmode=prefer or disable.',
  ],
  'client-certificate': [
    says(/unknown ca|certificate required|bad certificate|certificate unknown/i),
    'The server did not accept the client’s certificate. The one that sslcert names (default: ' +
      '~/.postgresql/postgresql.crt) must be signed by an authority in the server’s ssl_ca_file.',
  ],
  'tls-version': [
    says(/protocol version|unsupported protocol|no protocols available|wrong version/i),
    'The server and this client have no version of TLS in common, or what answers does not speak TLS. See ' +
      'ssl_min_protocol_version and ssl_max_protocol_version here and on the server; versions before 1.2 need an ' +
      'explicit ssl_min_protocol_version.',
  ],
  'tls-direct': [
    (failed) => isTls(failed) && failed.plan.tls.negotiation === 'direct',
    'sslnegotiation=direct begins with TLS at once, which servers before PostgreSQL 17, those without ssl = on, and ' +
      'some poolers do not understand. Leave it out.',
  ],
  'tls-failed': [
    isTls,
    'The encryption broke off while it was agreed on; the server’s log may say why. A proxy or another service may ' +
      'be in between. sslmode=disable shows whether it works without, but sends everything in clear.',
  ],
}
