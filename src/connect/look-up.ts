import { lookup } from 'node:dns'
import { isIP } from 'node:net'
import type { HostPlan } from '../conninfo/resolve.js'
import { Failure, type FailureKind } from './attempt-error.js'
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

/** The words of libpq for what a look-up fails with. */
const REASONS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'Name or service not known',
  EAI_AGAIN: 'Temporary failure in name resolution',
}

/** The addresses of a host that is not a Unix socket; a look-up that is answered too late is dropped. */
export async function findAddresses(
  { host, hostaddr }: HostPlan,
  lookUp: LookUp,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (hostaddr !== undefined) return [hostaddr]
  if (isIP(host) !== 0) return [host]
  const notFound = (kind: FailureKind, why: string, cause?: unknown) =>
    new Failure(kind, `could not translate host name "${host}" to address: ${why}`, cause)
  try {
    const found = await abortable(signal, lookUp(host))
    if (found.length > 0) return found
  } catch (error) {
    const reason: unknown = signal.reason
    // Time ran out before there was an address that a message could name.
    if (reason instanceof Failure && reason.kind === 'timeout') throw notFound('timeout', reason.message)
    if (signal.aborted) throw reason
    const { code = '', message } = error as NodeJS.ErrnoException
    throw notFound('network', REASONS[code] ?? message, error)
  }
  throw notFound('network', 'no address associated with it')
}
