/** The requests that were sent and are not answered, in order, and what they mean for those that come next. */
import type { RequestOwner } from './request-owner.js'
import { now } from '../util/clock.js'
import { LinkedList } from '../util/linked-list.js'
import type { Request } from './request.js'

export class InFlight {
  readonly #requests = new LinkedList<Request>()
  #barriers = 0
  #endings = 0
  #harmful = 0
  #speaker: RequestOwner | null = null
  #speaksSince = 0

  get size(): number {
    return this.#requests.size
  }

  /** The one that the server is answering. */
  get head(): Request | null {
    return this.#requests.head
  }

  /** How many of them let nothing go behind them. */
  get barriers(): number {
    return this.#barriers
  }

  /** How many are COMMITs, ROLLBACKs or resets. */
  get endings(): number {
    return this.#endings
  }

  /** How many of them may change what later texts mean. */
  get harmful(): number {
    return this.#harmful
  }

  /** Whose request the server runs. */
  get speaker(): RequestOwner | null {
    return this.#speaker
  }

  /** Since when it does, on the clock of `now()`. */
  get speaksSince(): number {
    return this.#speaksSince
  }

  [Symbol.iterator](): Iterator<Request> {
    return this.#requests[Symbol.iterator]()
  }

  add(request: Request): void {
    this.#requests.push(request)
    this.#count(request, 1)
  }

  remove(request: Request): void {
    this.#requests.remove(request)
    this.#count(request, -1)
  }

  #count(request: Request, by: 1 | -1): void {
    if (request.isBarrier) this.#barriers += by
    if (request.traits.endsTransaction) this.#endings += by
    if (request.traits.harmful) this.#harmful += by
  }

  /** Others may go behind it from now on. */
  liftBarrier(request: Request): void {
    request.isBarrier = false
    this.#barriers--
  }

  /** The head may be another one. Gives it. */
  watchSpeaker(): Request | null {
    const { head } = this.#requests
    const owner = head?.owner ?? null
    if (owner !== this.#speaker) {
      this.#speaker = owner
      this.#speaksSince = now()
    }
    return head
  }

  takeAll(): Request[] {
    return this.#requests.takeAll()
  }
}
