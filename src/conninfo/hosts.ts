import { isIP } from 'node:net'
import { ConninfoError } from '../errors.js'
import { defaultHost, socketPath } from './local-defaults.js'
import { quoteValue } from './secret.js'
import { parseInteger, textOf, type Values } from './values.js'

/** One entry of the list of hosts. */
export interface HostPlan {
  /** The host as it was given or found: a name, an address, a socket directory; empty with `hostaddr` alone. */
  readonly host: string
  /** The address to use instead of looking the name up. */
  readonly hostaddr?: string
  readonly port: number
  /** The Unix socket, when the host is a directory (`/…`) or an abstract name (`@…`). */
  readonly socket?: string
}

/**
 * The hosts to try, in the order in which they were given.
 *
 * @see PostgreSQL manual, "Specifying Multiple Hosts" (libpq)
 * @throws ConninfoError when the lists do not match, and for a bad port or address
 */
export function expandHosts(values: Values): [HostPlan, ...HostPlan[]] {
  const [hosts, addresses, ports] = [list(values, 'host'), list(values, 'hostaddr'), list(values, 'port')]
  const count = Math.max(addresses.length || hosts.length, 1)
  if (hosts.length > 0 && hosts.length !== count) {
    throw new ConninfoError(`could not match ${hosts.length} host names to ${count} hostaddr values`)
  }
  if (ports.length > 1 && ports.length !== count) {
    throw new ConninfoError(`could not match ${ports.length} port numbers to ${count} hosts`)
  }
  const found = new Map<number, string>()
  const plans = Array.from({ length: count }, (_, index) =>
    planHost(hosts[index] ?? '', addresses[index] ?? '', ports[ports.length === 1 ? 0 : index] ?? '', found),
  )
  return plans as [HostPlan, ...HostPlan[]]
}

function list(values: Values, keyword: string): string[] {
  const text = textOf(values, keyword)
  return text === '' ? [] : text.split(',')
}

/** `found` remembers the default host for each port: finding it asks the file system. */
function planHost(given: string, hostaddr: string, portText: string, found: Map<number, string>): HostPlan {
  const port = portText === '' ? 5432 : parseInteger('port', portText)
  if (port < 1 || port > 65535) throw new ConninfoError(`invalid port number: "${quoteValue(portText)}"`)
  if (hostaddr !== '') {
    if (isIP(hostaddr) !== 0) return { host: given, hostaddr, port }
    throw new ConninfoError(`could not parse network address "${quoteValue(hostaddr)}"`)
  }
  if (given === '' && !found.has(port)) found.set(port, defaultHost(port))
  const host = given === '' ? found.get(port)! : given
  if (/^[/@]/.test(host)) return { host, port, socket: socketPath(host, port) }
  if (!host.includes('@')) return { host, port }
  // Nearly always the rest of a password that was not percent-encoded, so it is not shown.
  throw new ConninfoError('could not translate host name "***" to address; write an "@" in a password as %40')
}
