import { lookup } from 'node:dns'
import { isIP } from 'node:net'
import type { HostPlan } from '../conninfo/hosts.js'
import { Failure } from './attempt-error.js'
import { abortable } from './with-deadline.js'

/** Finds the addresses of a name, in the order in which they are to be tried. */
export type LookUp = (name: string) => Promise<readonly string[]>

/** The operating system's look-up, as libpq uses it. */
export const systemLookUp: LookUp = (name) =>
  new Promise((resolve, reject) => {
    lookup(name, { all: true, verbatim: true }, (error, found) => {
      if (error) reject(error)
      else resolve(found.map(({ address }) => address))
    })
  })

/** The addresses of a host that is not a Unix socket; a look-up that is answered too late is dropped. */
export async function findAddresses(
  host: HostPlan,
  lookUp: LookUp,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (host.hostaddr !== undefined) return [host.hostaddr]
  if (isIP(host.host) !== 0) return [host.host]
  try {
    const found = await abortable(signal, lookUp(host.host))
    if (found.length > 0) return found
  } catch (error) {
    if (signal.aborted) throw expired(signal.reason, host.host)
    throw new Failure('network', notFound(host.host, describeLookUp(error)), error)
  }
  throw new Failure('network', notFound(host.host, 'no address associated with it'))
}

function notFound(name: string, why: string): string {
  return `could not translate host name "${name}" to address: ${why}`
}

/** Time ran out before there was an address that a message could name. */
function expired(reason: unknown, name: string): unknown {
  const timeout = reason instanceof Failure && reason.kind === 'timeout'
  return timeout ? new Failure('timeout', notFound(name, reason.message)) : reason
}

function describeLookUp(error: unknown): string {
  switch ((error as NodeJS.ErrnoException | undefined)?.code) {
    case 'ENOTFOUND':
      return 'Name or service not known'
    case 'EAI_AGAIN':
      return 'Temporary failure in name resolution'
    default:
      return error instanceof Error ? error.message : String(error)
  }
}
