import { Failure } from './failures.js'

/**
 * Refuses lists of revoked certificates where TLS would take them and look at none: Deno's does. To go on would mean to
 * trust a certificate that somebody has gone to the trouble of revoking.
 *
 * @param versions what runs us, as `process.versions` names it
 */
export function requireRevocationChecks(versions: Readonly<Record<string, string | undefined>>): void {
  if (versions['deno'] === undefined) return
  throw new Failure(
    'policy',
    'certificate revocation lists (sslcrl, sslcrldir, ~/.postgresql/root.crl) cannot be checked on Deno, whose TLS ' +
      'ignores them',
  )
}
