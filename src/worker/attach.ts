/** The worker's side: makes a manager of a port. */
import { MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import { ManagerFace } from '../face/manager-face.js'
import { ScopedBroker } from '../face/scoped-broker.js'
import { RemoteBroker } from './client/remote-broker.js'
import { PROTOCOL } from './protocol.js'
import type { CustomTypesConfig } from 'pg'
import type { Manager } from '../api/manager.js'
import type { Hello } from './protocol.js'

const attached = new WeakSet<MessagePort>()

/** The manager of a worker: the same face, over the broker of the owner's thread. */
class AttachedManager extends ManagerFace {
  constructor(port: MessagePort, hello: Hello, types: CustomTypesConfig | undefined) {
    const facts = { conninfo: hello.conninfo, title: 'ManagedConnection in a worker', types }
    const { options, common } = hello
    super(facts, () => new ScopedBroker(new RemoteBroker(port, hello), options, common))
  }
}

/** Options of `attach`. */
export interface AttachOptions {
  /**
   * Parses what this worker's queries give, in place of `pg.types` of this thread. A query's own `types` come first.
   * Default: `pg.types` of this thread.
   */
  readonly types?: CustomTypesConfig | undefined
}

/**
 * Makes a manager of a port that `share()` gave: the same verbs, options, errors and promises, for the connection of
 * the owner's thread. `end()` detaches this worker only.
 *
 * ```ts
 * import { workerData, type MessagePort } from 'node:worker_threads'
 * import { attach } from 'pg-managed-connection/worker'
 *
 * const manager = attach((workerData as { port: MessagePort }).port)
 * await manager.transaction((connection) => connection.query('UPDATE counter SET n = n + 1'))
 * ```
 *
 * @throws TypeError for a port that `share()` of this version of the package has not given, or that is attached
 */
export function attach(port: MessagePort, options: AttachOptions = {}): Manager {
  if (!(port instanceof MessagePort)) throw new TypeError('attach() takes the port that share() gave')
  const { types } = options
  if (types != null && typeof types.getTypeParser !== 'function') {
    throw new TypeError('types must have a method getTypeParser')
  }
  if (attached.has(port)) throw new TypeError('the port is attached already; share() gives another one')
  const received = receiveMessageOnPort(port) as { message: Partial<Hello> } | undefined
  const hello = received?.message
  if (hello?.protocol !== PROTOCOL) {
    throw new TypeError('attach() takes a fresh port that share() of the same version of this package gave')
  }
  attached.add(port)
  return new AttachedManager(port, hello as Hello, types ?? undefined)
}
