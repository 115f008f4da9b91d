/** What a worker leads, or stands for. With the worker its work has ended, so it steps down for it. */
import { encodeThrown } from '../wire-error.js'
import type { Leadership } from '../../api/ports.js'
import type { Entry } from '../protocol.js'
import type { Host } from './host.js'

export class HostLeaderships {
  readonly #host: Host
  /** Null while it is stood for. */
  readonly #all = new Map<number, Leadership | null>()
  #gone = false

  constructor(host: Host) {
    this.#host = host
  }

  /** @throws TypeError for a number that is in use */
  lead([, id, name, retryMillis]: Entry<'lead'>): void {
    if (this.#all.has(id)) throw new TypeError(`leadership ${id} was asked for twice`)
    this.#all.set(id, null)
    const { signal } = this.#host.abortOf(id)
    void this.#host.answer(id, () => this.#stand(id, name, retryMillis, signal))
  }

  /** Gives the epoch, as a text. */
  async #stand(id: number, name: string, retryMillis: number, signal: AbortSignal): Promise<string> {
    let leadership: Leadership
    try {
      leadership = await this.#host.shared.broker.lead(name, retryMillis, signal)
    } catch (error) {
      this.#all.delete(id)
      throw error
    }
    this.#all.set(id, leadership)
    const tell = (): void => this.#host.say(['deposed', id, encodeThrown(leadership.signal.reason)])
    if (leadership.signal.aborted) tell()
    else leadership.signal.addEventListener('abort', tell, { once: true })
    if (this.#gone) void leadership.stepDown()
    return leadership.epoch.toString()
  }

  stepDown([, call, id]: Entry<'stepDown'>): void {
    const leadership = this.#all.get(id)
    // One that is still stood for has a call that is to be cancelled.
    if (leadership !== null) this.#all.delete(id)
    void this.#host.answer(call, () => leadership?.stepDown() ?? Promise.resolve())
  }

  /** The worker is gone. */
  end(): void {
    this.#gone = true
    for (const leadership of this.#all.values()) void leadership?.stepDown()
    this.#all.clear()
  }
}
