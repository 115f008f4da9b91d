import { ManagerFace } from '../../face/manager-face.js'
import { RemoteBroker } from './remote-broker.js'
import type { MessagePort } from 'node:worker_threads'
import type { CustomTypesConfig } from 'pg'
import type { Hello } from '../protocol.js'

/** The manager of a worker: the same face, over the broker of the owner's thread. */
export class AttachedManager extends ManagerFace {
  /** @param types parses the cells of statements that bring no parsers of their own */
  constructor(port: MessagePort, hello: Hello, types: CustomTypesConfig | undefined) {
    super(
      { conninfo: hello.conninfo, title: 'ManagedConnection in a worker', types },
      () => new RemoteBroker(port, hello),
    )
  }
}
