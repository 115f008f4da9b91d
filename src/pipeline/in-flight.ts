/** The requests that were sent and are not answered, in order, and what they mean for those that come next. */
import { now } from '../util/clock.js'
import { LinkedList } from '../util/linked-list.js'
import type { RequestOwner, Sent } from './request-owner.js'
import type { Followers, Request } from './request.js'

export class InFlight extends LinkedList<Request> {
  /** How many of them let nothing go behind them. */
  barriers = 0
  /** How many of them let only reads go behind them. */
  fences = 0
  /** How many are COMMITs, ROLLBACKs or resets. */
  endings = 0
  /** How many of them may change what later texts mean. */
  harmful = 0
  /** How many of the first were in flight when a CancelRequest arrived that was not meant for them. */
  suspects = 0
  /** Whose request the server runs. */
  speaker: RequestOwner | null = null
  /** Since when it does, on the clock of `now()`. */
  speaksSince = 0

  override push(request: Request): void {
    super.push(request)
    this.#count(request, 1)
  }

  override remove(request: Request): void {
    super.remove(request)
    this.#count(request, -1)
    if (this.suspects > 0) this.suspects--
  }

  #count(request: Request, by: 1 | -1): void {
    if (request.followers === 'none') this.barriers += by
    else if (request.followers === 'reads') this.fences += by
    if (request.traits.endsTransaction || request.traits.precedesCommit) this.endings += by
    if (request.traits.harmful) this.harmful += by
  }

  /** Any of those in flight may have been hit. */
  suspectAll(): void {
    this.suspects = this.size
  }

  /** Others may go behind it from now on. */
  liftBarrier(request: Request): void {
    request.followers = 'all'
    this.barriers--
  }

  /** The head may be another one. Gives it. */
  watchSpeaker(): Request | null {
    const owner = this.head?.owner ?? null
    if (owner !== this.speaker) {
      this.speaker = owner
      this.speaksSince = now()
    }
    return this.head
  }
}

/** Nothing goes behind a BEGIN that may fail, nor behind what may have to be cancelled and is part of more. */
export function followersOf({ traits, guard, owner }: Request, { begin }: Sent): Followers {
  const mayBeFollowed = traits.pipelining === 'shared' || traits.pipelining === 'read'
  if (!mayBeFollowed || begin !== null) return 'none'
  if (guard === null) return 'all'
  return owner.isolated === true ? 'reads' : 'none'
}
