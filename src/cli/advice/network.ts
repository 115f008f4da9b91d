import { originOf, whereOf, type FailedAttempt, type Rule } from './rule.js'

const isUnresolved = ({ error }: FailedAttempt) => /^could not translate host name/.test(error.reason)
const says = (kind: string, codes: RegExp) => (failed: FailedAttempt) =>
  failed.error.kind === kind && codes.test(failed.error.code ?? '')

const seconds = ({ plan }: FailedAttempt) => `${plan.connectTimeoutMillis / 1000} s`

/** The host cannot be found or reached, or it does not answer. */
export const networkRules: readonly Rule[] = [
  {
    code: 'name-timed-out',
    applies: (failed) => failed.error.kind === 'timeout' && isUnresolved(failed),
    advice: (failed) =>
      `The name server did not answer within ${seconds(failed)}. Check the machine's DNS settings and network, ` +
      'or give the address with hostaddr.',
  },
  {
    code: 'timed-out',
    applies: ({ error }) => error.kind === 'timeout',
    advice: (failed) =>
      `There was no answer from ${whereOf(failed)} within ${seconds(failed)}. Usually a firewall drops the packets, ` +
      'or the address is wrong or of another network (a VPN?). If the server is only slow, raise connect_timeout.',
  },
  {
    code: 'unknown-host',
    applies: (failed) => isUnresolved(failed) && failed.error.code !== 'EAI_AGAIN',
    advice: (failed) =>
      `No address is known for "${failed.error.host}" (from: ${originOf(failed, 'host')}). Check the spelling, and ` +
      'whether the name is known in this network: names of containers and clusters are known only inside.',
  },
  {
    code: 'name-server-unavailable',
    applies: isUnresolved,
    advice: (failed) =>
      `"${failed.error.host}" could not be looked up now: the name server cannot be reached. Check the machine's ` +
      'network and DNS settings, or give the address with hostaddr.',
  },
  {
    code: 'socket-refused',
    applies: (failed) => failed.socket !== null && says('network', /^ECONNREFUSED$/)(failed),
    advice: (failed) =>
      `The socket file ${failed.socket} is there, but no server listens on it: it was left by one that is not ` +
      'running. Start the server.',
  },
  {
    code: 'connection-refused',
    applies: says('network', /^ECONNREFUSED$/),
    advice: (failed) =>
      `Nothing listens on port ${failed.error.port} of ${failed.error.address ?? failed.error.host}. Check that the ` +
      `server runs, that the port is right (from: ${originOf(failed, 'port')}), that listen_addresses in ` +
      'postgresql.conf includes this address, and that a container publishes the port.',
  },
  {
    code: 'socket-missing',
    applies: says('network', /^(?:ENOENT|ENOTDIR)$/),
    advice: (failed) =>
      `There is no socket file ${failed.socket ?? ''}. Check that the server runs, that its port is ` +
      `${failed.error.port}, and that the folder is one of its unix_socket_directories; or connect by TCP with ` +
      'host=localhost.',
  },
  {
    code: 'socket-permission',
    applies: says('network', /^EACCES$/),
    advice: (failed) =>
      `The operating system's user may not use ${whereOf(failed)}. Check the permissions of the file and its folder ` +
      '(unix_socket_permissions), or connect by TCP with host=localhost.',
  },
  {
    code: 'closed',
    applies: ({ error }) => error.kind === 'network' && /server closed the connection/.test(error.reason),
    advice: (failed) =>
      `Something at ${whereOf(failed)} accepted the connection and hung up. The server's log says why if it was ` +
      'PostgreSQL; otherwise another service, a proxy without a server behind it, or a firewall is there.',
  },
  {
    code: 'unreachable',
    applies: ({ error }) => error.kind === 'network',
    advice: (failed) =>
      `There is no way to ${whereOf(failed)} from here. Check the address, the network (a VPN?), and whether this ` +
      'machine has IPv6 if the address is one.',
  },
]
