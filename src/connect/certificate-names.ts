/** Whether a server's certificate is made out to the host that was asked for, by libpq's rules. */
import { isIP } from 'node:net'
import type { X509Certificate } from 'node:crypto'

interface Names {
  readonly dns: readonly string[]
  readonly addresses: readonly string[]
  /** Empty where there is none. */
  readonly common: string
}

/**
 * What is wrong with the names of a certificate: one of its alternative names has to be the host, or its common name
 * where none of them is of the host's kind. An address may stand among the names of hosts, too.
 *
 * @returns null where nothing is wrong
 * @see PostgreSQL manual, "Client Verification of Server Certificates" (libpq)
 */
export function faultOfName(certificate: X509Certificate, host: string): string | null {
  const names = namesOf(certificate)
  const isAddress = isIP(host) !== 0
  const ofKind = isAddress ? names.addresses : names.dns
  const hosts = ofKind.length > 0 ? names.dns : [...names.dns, names.common]
  const matches = hosts.some((name) => matchesName(name, host)) || (isAddress && certificate.checkIP(host))
  if (matches) return null
  // The first name, and how many more there are: libpq's way to say it.
  const [first = names.common, ...others] = [...names.dns, ...names.addresses]
  const more =
    others.length === 0 ? '' : ` (and ${others.length} other ${others.length === 1 ? 'name' : 'names'})`
  return `server certificate for "${first}"${more} does not match host name "${host}"`
}

/** Node quotes a name as JSON does where it has a comma or a quote in it, so that none can pretend to be two. */
const NAMES = /(?:^|, )([A-Za-z0-9 ]+):("(?:[^"\\]|\\.)*"|[^,]*)/g

function namesOf({ subject, subjectAltName = '' }: X509Certificate): Names {
  const all = [...subjectAltName.matchAll(NAMES)].map(([, kind, text = '']) => ({
    kind,
    name: text.startsWith('"') ? (JSON.parse(text) as string) : text,
  }))
  const of = (wanted: string): string[] => all.filter(({ kind }) => kind === wanted).map(({ name }) => name)
  return {
    dns: of('DNS'),
    addresses: of('IP Address'),
    common: /^CN=(.*)$/m.exec(subject)?.[1] ?? '',
  }
}

/** A `*.` at the beginning stands for one label, whatever follows. */
function matchesName(name: string, host: string): boolean {
  const [pattern, wanted] = [name.toLowerCase(), host.toLowerCase()]
  if (pattern === wanted) return true
  const dot = wanted.indexOf('.')
  return pattern.startsWith('*.') && pattern.length > 2 && dot > 0 && wanted.slice(dot) === pattern.slice(1)
}
