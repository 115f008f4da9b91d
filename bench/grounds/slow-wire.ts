/** A TCP connection that takes its time, on a thread of its own: a busy contestant does not make it any slower. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Address } from '../../test/support/address.js'
import type { WireSetting } from './slow-wire-thread.js'

export interface SlowWire extends Address, AsyncDisposable {}

/** Everything that passes is on its way for so long, in each direction. */
export async function openSlowWire({ host, port }: Address, delayMillis: number): Promise<SlowWire> {
  const workerData: WireSetting = { target: { host, port }, delayMillis }
  const worker = new Worker(new URL('slow-wire-thread.js', import.meta.url), { workerData })
  const [address] = (await once(worker, 'message')) as [Address]
  return { ...address, [Symbol.asyncDispose]: async () => void (await worker.terminate()) }
}
