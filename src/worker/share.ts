/** The owner's side: gives ports away. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { MessageChannel } from 'node:worker_threads'
import { ManagerEndedError } from '../errors.js'
import { ManagedConnection } from '../index.js'
import { SharedManager } from './host/shared-manager.js'
import { Host } from './host/host.js'
import { PROTOCOL } from './protocol.js'
import type { MessagePort } from 'node:worker_threads'
import type { Hello } from './protocol.js'

const desks = new WeakMap<ManagedConnection, SharedManager>()

/** Whoever calls `share()` inside a callback is not meant to hold all that its worker asks for afterwards. */
const outside = AsyncLocalStorage.snapshot()

/**
 * Shares the manager's connection with a worker: gives a port to be transferred to it, where `attach(port)` makes a
 * manager of it. As many as wanted, one for each worker. Workers and this thread wait in one line, strictly in the
 * order in which they ask.
 *
 * What a worker that exits, crashes, is terminated or closes the port had under way is cancelled and rolled back. An
 * idle port keeps neither thread alive.
 *
 * @throws `ManagerEndedError` after `end()`; TypeError for anything but a `ManagedConnection`
 *
 * ```ts
 * import { Worker } from 'node:worker_threads'
 * import { share } from 'pg-managed-connection/worker'
 *
 * const port = share(manager)
 * new Worker(new URL('worker.js', import.meta.url), { workerData: { port }, transferList: [port] })
 * ```
 */
export function share(manager: ManagedConnection): MessagePort {
  if (!(manager instanceof ManagedConnection)) {
    throw new TypeError('share() takes a ManagedConnection, in the thread that made it')
  }
  if (manager.sharing.ending) throw new ManagerEndedError()
  return outside(() => openPort(deskOf(manager)))
}

function deskOf(manager: ManagedConnection): SharedManager {
  const known = desks.get(manager)
  if (known !== undefined) return known
  const desk = new SharedManager(manager)
  desks.set(manager, desk)
  return desk
}

function openPort(desk: SharedManager): MessagePort {
  const { port1, port2 } = new MessageChannel()
  const { board } = new Host(desk, port1)
  const { autocommit, traceHolders, holdWarningMillis } = desk.sharing.options
  const hello: Hello = {
    protocol: PROTOCOL,
    board: board.buffer,
    conninfo: String(desk.manager),
    facts: desk.manager.facts,
    autocommit,
    traces: traceHolders || holdWarningMillis > 0,
  }
  port1.postMessage(hello)
  return port2
}
