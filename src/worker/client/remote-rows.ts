/** The rows of one statement in a worker, fetched from the owner a batch at a time. */
import { encodeCall } from '../wire-statement.js'
import type { QueryResult } from 'pg'
import type { RowSource } from '../../api/ports.js'
import type { StatementCall } from '../../api/statement.js'
import type { WireResult } from '../protocol.js'
import type { RemoteLease } from './remote-lease.js'

export class RemoteRows implements RowSource {
  readonly #lease: RemoteLease
  readonly #call: StatementCall
  readonly #batchSize: number
  /** Its number at the owner's. */
  readonly #stream: number
  #state: 'new' | 'open' | 'over' = 'new'

  constructor(lease: RemoteLease, call: StatementCall, batchSize: number) {
    this.#lease = lease
    this.#call = call
    this.#batchSize = batchSize
    this.#stream = lease.link.createID()
  }

  async read(): Promise<unknown[]> {
    const { statement, limits } = this.#call
    const opening = this.#state === 'new' ? ([encodeCall(this.#call), this.#batchSize] as const) : null
    if (opening !== null) this.#lease.outstanding++
    // Where it fails, the owner has closed it.
    this.#state = 'over'
    const decode = (batch: WireResult): unknown[] => {
      if (batch[4] === this.#batchSize) this.#state = 'open'
      return (this.#lease.link.decoder.decode(batch, [statement]) as QueryResult).rows
    }
    const { id } = this.#lease
    const facts = { signal: limits.signal, decode }
    return this.#lease.call((call) => ['rows', id, call, this.#stream, opening], facts)
  }

  async close(): Promise<void> {
    if (this.#state === 'new') return
    const { id } = this.#lease
    if (this.#state === 'open') {
      await this.#lease.call((call) => ['drop', id, call, this.#stream]).catch(() => {})
    }
    this.#state = 'over'
    this.#lease.outstanding--
  }
}
