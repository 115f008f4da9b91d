import { describeSource } from './parameter-facts.js'
import type { CertificateFacts, ConnectionFacts, EncryptionFacts, ParameterFacts } from './report.js'

/** A certificate that ends sooner is worth a word. */
const SOON_DAYS = 14
const DAY_MILLIS = 86_400_000

/** What works, and yet is probably not what is wanted. */
export function warnOf(
  parameters: readonly ParameterFacts[],
  connection: ConnectionFacts | null,
): readonly string[] {
  const idle = parameters
    .filter(({ effect, source }) => effect === 'without effect' && source !== 'default')
    .map((one) => `${one.name} (${describeSource(one)}) is without effect here`)
  return [...idle, ...(connection?.tls ? warnOfTls(connection.tls) : [])]
}

function warnOfTls({ verified, certificate }: EncryptionFacts): string[] {
  const warnings = certificate === null ? [] : warnOfAge(certificate)
  if (verified) return warnings
  const unverified =
    'the server’s certificate was not verified, so anybody on the way could pose as the server; ' +
    'sslmode=verify-full with an sslrootcert checks it'
  return [unverified, ...warnings]
}

function warnOfAge({ validUntil }: CertificateFacts): string[] {
  const days = Math.floor((Date.parse(validUntil) - Date.now()) / DAY_MILLIS)
  if (days >= SOON_DAYS) return []
  if (days < 0) return [`the server’s certificate expired on ${validUntil}`]
  return [`the server’s certificate expires in ${days} day${days === 1 ? '' : 's'}, on ${validUntil}`]
}
