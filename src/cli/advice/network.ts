import { isFailure, originOf, whereOf, type FailedAttempt, type Rules } from './rule.js'

const UNRESOLVED = /^could not translate host name/

const seconds = ({ plan }: FailedAttempt) => `${plan.connectTimeoutMillis / 1000} s`

/** The host cannot be found or reached, or it does not answer. */
export const networkRules: Rules = {
  'name-timed-out': [
    isFailure('timeout', { reason: UNRESOLVED }),
    (failed) =>
      `The name server did not answer within ${seconds(failed)}. Check the machine's DNS settings and network, ` +
      'or give the address with hostaddr.',
  ],
  'timed-out': [
    isFailure('timeout'),
    (failed) =>
      `There was no answer from ${whereOf(failed)} within ${seconds(failed)}. Usually a firewall drops the packets, ` +
      'or the address is wrong or of another network (a VPN?). If the server is only slow, raise connect_timeout.',
  ],
  'unknown-host': [
    isFailure('network', { reason: UNRESOLVED, code: /^(?!EAI_AGAIN$)/ }),
    (failed) =>
      `No address is known for "${failed.error.host}" (from: ${originOf(failed, 'host')}). Check the spelling, and ` +
      'whether the name is known in this network: names of containers and clusters are known only inside.',
  ],
  'name-server-unavailable': [
    isFailure('network', { reason: UNRESOLVED }),
    (failed) =>
      `"${failed.error.host}" could not be looked up now: the name server cannot be reached. Check the machine's ` +
      'network and DNS settings, or give the address with hostaddr.',
  ],
  'socket-refused': [
    (failed) => failed.socket !== null && isFailure('network', { code: /^ECONNREFUSED$/ })(failed),
    (failed) =>
      `The socket file ${failed.socket} is there, but no server listens on it: it was left by one that is not ` +
      'running. Start the server.',
  ],
  'connection-refused': [
    isFailure('network', { code: /^ECONNREFUSED$/ }),
    (failed) =>
      `Nothing listens on port ${failed.error.port} of ${failed.error.address ?? failed.error.host}. Check that the ` +
      `server runs, that the port is right (from: ${originOf(failed, 'port')}), that listen_addresses in ` +
      'postgresql.conf includes this address, and that a container publishes the port.',
  ],
  'socket-missing': [
    isFailure('network', { code: /^(?:ENOENT|ENOTDIR)$/ }),
    (failed) =>
      `There is no socket file ${failed.socket ?? ''}. Check that the server runs, that its port is ` +
      `${failed.error.port}, and that the folder is one of its unix_socket_directories; or connect by TCP with ` +
      'host=localhost.',
  ],
  'socket-permission': [
    isFailure('network', { code: /^EACCES$/ }),
    (failed) =>
      `The operating system's user may not use ${whereOf(failed)}. Check the permissions of the file and its folder ` +
      '(unix_socket_permissions), or connect by TCP with host=localhost.',
  ],
  closed: [
    isFailure('network', { reason: /server closed the connection/ }),
    (failed) =>
      `Something at ${whereOf(failed)} accepted the connection and hung up. The server's log says why if it was ` +
      'PostgreSQL; otherwise another service, a proxy without a server behind it, or a firewall is there.',
  ],
  unreachable: [
    isFailure('network'),
    (failed) =>
      `There is no way to ${whereOf(failed)} from here. Check the address, the network (a VPN?), and whether this ` +
      'machine has IPv6 if the address is one.',
  ],
}
