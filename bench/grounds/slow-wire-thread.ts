/** The thread of a slow wire: it says where it listens, and works until it is ended. */
import { parentPort, workerData } from 'node:worker_threads'
import type { Address } from '../../test/support/address.js'
import { startProxy } from '../../test/support/proxy.js'

export interface WireSetting {
  readonly target: Address
  readonly delayMillis: number
}

const { target, delayMillis } = workerData as WireSetting
const proxy = await startProxy(target)
proxy.delayMillis = delayMillis
proxy.slackMillis = 0.5
parentPort!.postMessage({ host: proxy.host, port: proxy.port } satisfies Address)
