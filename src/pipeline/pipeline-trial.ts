/**
 * Whether what is between this process and the server takes pipelined statements: certain once one that was sent behind
 * another has been answered. Until then, where an answer is long in coming, a Sync is sent, which disturbs nothing. If the
 * statement has been lost on the way, its answer is taken for that of the statement, and shows it.
 */
import { deadline, type Deadlines } from '../util/deadlines.js'
import { SyncRequest } from './control-request.js'
import { SEND, type RequestOwner } from './request-owner.js'
import { TRAITS, type Request } from './request.js'

/** Before a Sync is sent, and before the next one, in milliseconds. */
const PATIENCE_MILLIS = 5_000

const ignore = (): void => {}
/** Nobody waits for the Sync. */
const NOBODY: RequestOwner = {
  admit: () => SEND,
  onAnswered: ignore,
  onWithdrawn: ignore,
  onLost: ignore,
  withdraw: ignore,
  mayRetry: () => false,
}

export class PipelineTrial {
  /** False where nothing is to be sent behind what is unanswered. */
  readonly allowed: boolean
  readonly #deadlines: Deadlines
  readonly #deadline
  #state: 'untried' | 'waiting' | 'passed' = 'untried'
  /** The first that was sent behind another. */
  #first: Request | null = null

  constructor(allowed: boolean, deadlines: Deadlines, send: (probe: Request) => void) {
    this.allowed = allowed
    this.#deadlines = deadlines
    this.#deadline = deadline(() => {
      deadlines.add(this.#deadline, PATIENCE_MILLIS)
      send(new SyncRequest(NOBODY, TRAITS))
    })
  }

  /** `request` is sent behind others. */
  onSentBehind(request: Request): void {
    if (this.#state !== 'untried') return
    this.#state = 'waiting'
    this.#first = request
    this.#deadlines.add(this.#deadline, PATIENCE_MILLIS)
  }

  onAnswered(request: Request): void {
    if (request !== this.#first) return
    this.#state = 'passed'
    this.stop()
  }

  stop(): void {
    this.#first = null
    this.#deadlines.remove(this.#deadline)
  }

  /** What an answer to a statement that is not complete says. */
  violation(): Error {
    const lost =
      this.#state === 'waiting'
        ? ': something in between loses statements that are sent before the one ahead of them is answered? Say pipeline: false'
        : ''
    return new Error(`protocol violation: the server sent an unexpected ReadyForQuery${lost}`)
  }
}
