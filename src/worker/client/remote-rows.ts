/** The rows of one statement in a worker, fetched from the owner a batch at a time. */
import { encodeCall } from '../wire-statement.js'
import { decodeRows } from './result-decoder.js'
import type { RowSource } from '../../api/ports.js'
import type { StatementCall } from '../../api/statement.js'
import type { WireRows, WireStatement } from '../protocol.js'
import type { CallFacts } from './calls.js'

type Opening = readonly [statement: WireStatement, batchSize: number] | null

/** How the owner is asked. */
export interface RowRequests {
  /** The statement is being run: by so many more or fewer. */
  count(by: 1 | -1): void
  read(opening: Opening, facts: CallFacts<unknown[]>): Promise<unknown[]>
  drop(): Promise<unknown>
}

export class RemoteRows implements RowSource {
  readonly #call: StatementCall
  readonly #batchSize: number
  readonly #requests: RowRequests
  #state: 'new' | 'open' | 'over' = 'new'

  constructor(call: StatementCall, batchSize: number, requests: RowRequests) {
    this.#call = call
    this.#batchSize = batchSize
    this.#requests = requests
  }

  async read(): Promise<unknown[]> {
    const opening: Opening = this.#state === 'new' ? [encodeCall(this.#call), this.#batchSize] : null
    if (opening !== null) this.#requests.count(1)
    // Where it fails, the owner has closed it.
    this.#state = 'over'
    const decode = (batch: WireRows): unknown[] => {
      if (batch.rows.length === this.#batchSize) this.#state = 'open'
      return decodeRows(batch, this.#call.statement)
    }
    return this.#requests.read(opening, { signal: this.#call.limits.signal, decode })
  }

  async close(): Promise<void> {
    if (this.#state === 'new') return
    if (this.#state === 'open') await this.#requests.drop().catch(() => {})
    this.#state = 'over'
    this.#requests.count(-1)
  }
}
