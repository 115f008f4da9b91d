import type { ConnectPlan } from '../conninfo/plan.js'
import { ConnectError } from '../errors.js'
import type { OpenedClient, OpenOptions } from './opened-client.js'
import { Opening } from './opening.js'
import { shuffle } from './shuffle.js'

/**
 * Opens a connection: the hosts in order (or at random), each name's addresses in turn, each attempt within
 * `connect_timeout`, until one is what `target_session_attrs` asks for.
 *
 * @throws ConnectError with one error for each host and address that was tried; the signal's reason when it fires
 * @see PostgreSQL manual, "Specifying Multiple Hosts", "SSL Support" (libpq)
 */
export async function openClient(plan: ConnectPlan, options: OpenOptions = {}): Promise<OpenedClient> {
  const opening = new Opening(plan, options)
  const { targetSessionAttrs: wanted } = plan
  const hosts = plan.loadBalanceHosts === 'random' ? shuffle(plan.hosts) : plan.hosts
  if (wanted !== 'prefer-standby') return opening.tryHosts(hosts, wanted)
  try {
    return await opening.tryHosts(hosts, 'standby')
  } catch (error) {
    if (!(error instanceof ConnectError) || opening.stopped) throw error
    return opening.tryHosts(hosts, 'any')
  }
}
