/** Asks the server something between a holder's statements, who sees nothing of it. */
import { QueryRequest } from '../pipeline/query-request.js'
import { SEND, SKIP, type Admission, type RequestOwner } from '../pipeline/request-owner.js'
import { TRAITS, type Request } from '../pipeline/request.js'
import { ownStatement } from '../pipeline/statement-part.js'
import type { QueryResult } from 'pg'

export class Question implements RequestOwner {
  readonly request: Request
  /** The column `answer`; undefined where there was no answer, such as in a transaction that had failed. */
  readonly answer: Promise<string | null | undefined>
  readonly #isWanted: () => boolean
  #resolve!: (answer: string | null | undefined) => void

  /** @param isWanted asked when it is about to be sent */
  constructor(text: string, isWanted: () => boolean) {
    this.request = new QueryRequest(this, ownStatement(text), TRAITS)
    this.answer = new Promise((resolve) => (this.#resolve = resolve))
    this.#isWanted = isWanted
  }

  admit(): Admission {
    return this.#isWanted() ? SEND : SKIP
  }

  onAnswered({ error, outcome }: Request): void {
    const [row] = error === null ? (outcome as QueryResult<{ answer: string | null }>).rows : []
    this.#resolve(row?.answer)
  }

  onWithdrawn(): void {
    this.#resolve(undefined)
  }

  onLost(): void {
    this.#resolve(undefined)
  }

  withdraw(): void {}

  mayRetry(): boolean {
    return true
  }
}
