/** The signals of what a worker may cancel by its number. */
import { BriefMap } from '../../util/brief-map.js'
import { CANCELLED } from '../protocol.js'
import type { WireStatement } from '../protocol.js'

export class Aborts {
  readonly #controllers = new BriefMap<number, AbortController>()

  /** A signal for what has this number, until `over`. */
  signal(id: number): AbortSignal {
    const known = this.#controllers.get(id)
    if (known !== undefined) return known.signal
    const controller = new AbortController()
    this.#controllers.set(id, controller)
    return controller.signal
  }

  /** The signal of a statement; none where none is needed, because one that has a signal is not pipelined. */
  signalFor(id: number, [, , , , , , abortable]: WireStatement): AbortSignal | undefined {
    return abortable ? this.signal(id) : undefined
  }

  over(id: number): void {
    this.#controllers.delete(id)
  }

  abort(id: number): void {
    this.#controllers.get(id)?.abort(CANCELLED)
  }

  abortAll(): void {
    for (const id of this.#controllers.keys()) this.abort(id)
  }
}
