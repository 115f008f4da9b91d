/**
 * Which statements of a session are to be cancelled. Any number may be, each as soon as it is the one that the server
 * runs; a statement that waits behind another's costs that other nothing, however long it has to wait.
 */
import { CancelRequest } from './cancel-request.js'
import type { OpenedClient } from '../driver/open/index.js'
import type { Unit } from '../driver/unit.js'
import type { CancelHooks } from './cancel-request.js'

export class Cancels {
  readonly #opened: OpenedClient
  readonly #hooks: CancelHooks
  /** Unanswered statements that are to be cancelled, in the order of asking. */
  readonly #wanted = new Set<Unit>()
  /** The one that is being cancelled, or whose request has not come back yet. */
  #request: CancelRequest | null = null

  constructor(opened: OpenedClient, hooks: CancelHooks) {
    this.#opened = opened
    this.#hooks = hooks
  }

  /** Something is to be cancelled, or a request is on its way: what is sent now might be hit. */
  get pending(): boolean {
    return this.#request !== null || this.#wanted.size > 0
  }

  /** `unit`, which was sent, is to be cancelled; `head` is the one that the server runs. */
  ask(unit: Unit, head: Unit | null): void {
    if (this.#request?.unit === unit) return
    this.#wanted.add(unit)
    this.headIs(head)
  }

  /** The server runs `head` now. */
  headIs(head: Unit | null): void {
    if (head === null || this.#request !== null || !this.#wanted.delete(head)) return
    this.#request = new CancelRequest(head, this.#opened, {
      ...this.#hooks,
      onOver: () => this.#onOver(),
    })
  }

  /** ReadyForQuery has come for `unit`. */
  answered(unit: Unit): void {
    this.#wanted.delete(unit)
    if (this.#request?.unit === unit) this.#request.answered()
  }

  /** The connection is lost. */
  abandon(): void {
    this.#wanted.clear()
    this.#request?.abandon()
    this.#request = null
  }

  #onOver(): void {
    this.#request = null
    this.#hooks.onOver()
  }
}
