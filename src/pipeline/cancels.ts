/**
 * Which statements of a backend are to be cancelled. Any number may be, each as soon as it is the one that the server
 * runs; a statement that waits behind another's never affects the one that runs before it.
 */
import { CancelRequest } from './cancel-request.js'
import type { OpenedClient } from '../connect/index.js'
import type { Request } from './request.js'
import type { CancelHooks } from './cancel-request.js'

export class Cancels {
  readonly #opened: OpenedClient
  readonly #hooks: CancelHooks
  /** Unanswered statements that are to be cancelled, in the order of asking. */
  readonly #wanted = new Set<Request>()
  /** The one that is being cancelled, or whose CancelRequest has not come back yet. */
  #underWay: CancelRequest | null = null

  constructor(opened: OpenedClient, hooks: CancelHooks) {
    this.#opened = opened
    this.#hooks = hooks
  }

  /** Something is to be cancelled, or a CancelRequest is on its way: what is sent now might be hit. */
  get pending(): boolean {
    return this.#underWay !== null || this.#wanted.size > 0
  }

  /** `request`, which was sent, is to be cancelled; `head` is the one that the server runs. */
  ask(request: Request, head: Request | null): void {
    if (this.#underWay?.target === request) return
    this.#wanted.add(request)
    this.headIs(head)
  }

  /** The server runs `head` now. */
  headIs(head: Request | null): void {
    if (head === null || this.#underWay !== null || !this.#wanted.delete(head)) return
    this.#underWay = new CancelRequest(head, this.#opened, {
      ...this.#hooks,
      onOver: () => this.#onOver(),
    })
  }

  /** ReadyForQuery has come for `request`. */
  answered(request: Request): void {
    this.#wanted.delete(request)
    if (this.#underWay?.target === request) this.#underWay.answered()
  }

  /** The connection is lost. */
  abandon(): void {
    this.#wanted.clear()
    this.#underWay?.abandon()
    this.#underWay = null
  }

  #onOver(): void {
    this.#underWay = null
    this.#hooks.onOver()
  }
}
