/** The owner's side: gives ports away. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { MessageChannel } from 'node:worker_threads'
import { ManagerEndedError } from '../errors.js'
import { LocalBroker } from '../broker/local-broker.js'
import { brokerOf, ManagerFace } from '../face/manager-face.js'
import { scopeOf } from '../face/scoped-broker.js'
import { SharedManager } from './host/shared-manager.js'
import { Host } from './host/host.js'
import { PROTOCOL } from './protocol.js'
import type { Manager } from '../api/manager.js'
import type { MessagePort } from 'node:worker_threads'
import type { Hello } from './protocol.js'

const shared = new WeakMap<LocalBroker, SharedManager>()

/** Where `share()` is called inside a callback, what its worker asks for afterwards is not part of that callback. */
const outside = AsyncLocalStorage.snapshot()

/**
 * Shares the manager's connection with a worker: gives a port to be transferred to it, where `attach(port)` makes a
 * manager of it. As many as wanted, one for each worker. Workers and this thread wait in one line, strictly in the
 * order in which they ask.
 *
 * What a worker that exits, crashes, is terminated or closes the port had under way is cancelled and rolled back. An
 * idle port keeps neither thread alive.
 *
 * @throws `ManagerEndedError` after `end()`; TypeError for anything but a `ManagedConnection`, or
 * what its `with()` gave
 *
 * ```ts
 * import { Worker } from 'node:worker_threads'
 * import { share } from 'pg-managed-connection/worker'
 *
 * const port = share(manager)
 * new Worker(new URL('worker.js', import.meta.url), { workerData: { port }, transferList: [port] })
 * ```
 */
export function share(manager: Manager): MessagePort {
  const scope = manager instanceof ManagerFace ? scopeOf(brokerOf(manager)!) : null
  if (!(scope?.base instanceof LocalBroker)) {
    throw new TypeError('share() takes a ManagedConnection, in the thread that made it')
  }
  const { base, options, common } = scope
  if (base.ending) throw new ManagerEndedError()
  return outside(() => openPort(manager as ManagerFace, base, { options, common }))
}

function openPort(
  manager: ManagerFace,
  broker: LocalBroker,
  { options, common }: Pick<Hello, 'options' | 'common'>,
): MessagePort {
  let owner = shared.get(broker)
  if (owner === undefined) {
    owner = new SharedManager(manager, broker)
    shared.set(broker, owner)
  }
  const { port1, port2 } = new MessageChannel()
  const { stats } = new Host(owner, port1)
  const hello: Hello = {
    protocol: PROTOCOL,
    stats: stats.buffer,
    conninfo: String(manager),
    facts: broker.facts,
    options: { ...options, revokes: true },
    common,
  }
  port1.postMessage(hello)
  return port2
}
