/** What a worker leads, or stands for: the owner's thread has the locks, and says when one is lost. */
import { onAbort } from '../../util/abort-listeners.js'
import { reasonOf } from '../../util/abort-signals.js'
import { inNobodysContext } from '../../util/clock.js'
import type { Leadership } from '../../api/ports.js'
import type { Link } from './link.js'

class RemoteLeadership implements Leadership {
  readonly id: number
  /** Ends the standing for it. */
  readonly givenUp = new AbortController()
  readonly #lost = new AbortController()
  readonly #leave: (leadership: RemoteLeadership) => Promise<void>
  epoch = 0n

  constructor(id: number, leave: (leadership: RemoteLeadership) => Promise<void>) {
    this.id = id
    this.#leave = leave
  }

  get signal(): AbortSignal {
    return this.#lost.signal
  }

  depose(cause: Error): void {
    if (!this.signal.aborted) inNobodysContext(() => this.#lost.abort(cause))
  }

  stepDown(): Promise<void> {
    return this.#leave(this)
  }
}

export class RemoteLeaderships {
  readonly #link: Link
  readonly #all = new Map<number, RemoteLeadership>()

  constructor(link: Link) {
    this.#link = link
  }

  /** They keep the thread alive. */
  get size(): number {
    return this.#all.size
  }

  async stand(name: string, retryMillis: number, signal: AbortSignal | undefined): Promise<Leadership> {
    const leadership = new RemoteLeadership(this.#link.createID(), this.#stepDown)
    const { id, givenUp } = leadership
    // Before the owner's word that it leads: that it does not any more may come along with that.
    this.#all.set(id, leadership)
    const stopListening = signal && onAbort(signal, () => givenUp.abort(reasonOf(signal)))
    try {
      const facts = { signal: givenUp.signal, decode: BigInt as (epoch: string) => bigint }
      leadership.epoch = await this.#link.call(() => ['lead', id, name, retryMillis], facts, id)
      return leadership
    } catch (error) {
      this.#forget(leadership)
      throw givenUp.signal.aborted ? reasonOf(givenUp.signal) : error
    } finally {
      stopListening?.()
    }
  }

  readonly #stepDown = async (leadership: RemoteLeadership): Promise<void> => {
    if (!this.#all.has(leadership.id)) return
    try {
      await this.#link.call((id) => ['stepDown', id, leadership.id])
    } catch {
      // The owner has done it for a worker that is gone.
    }
    this.#forget(leadership)
  }

  #forget({ id }: RemoteLeadership): void {
    this.#all.delete(id)
    this.#link.watchActivity()
  }

  /** The owner says that it is lost. */
  onDeposed(id: number, cause: Error): void {
    this.#all.get(id)?.depose(cause)
  }

  /** Nothing is led any more, nor stood for. */
  end(cause: Error): void {
    for (const leadership of [...this.#all.values()]) {
      leadership.depose(cause)
      leadership.givenUp.abort(cause)
    }
  }
}
