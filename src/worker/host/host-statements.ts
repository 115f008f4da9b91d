/** Carries out what a worker asks for within a lease that it holds. */
import { ConnectionReleasedError } from '../../errors.js'
import { throwIfAborted } from '../../util/abort-signals.js'
import { decodeCall } from '../wire-statement.js'
import type { QueryResult } from 'pg'
import type { NestedTransaction } from '../../api/ports.js'
import type { Lease } from '../../lease/lease.js'
import type { CursorRows } from '../../pipeline/row-source.js'
import type { Entry, LeaseCall } from '../protocol.js'
import type { Host } from './host.js'

/** A stream that is open: each batch is fetched when the worker wants it. */
interface Stream {
  readonly rows: CursorRows
  readonly batchSize: number
  /** Ends it when the worker wants that; undefined where it will not. */
  readonly abort: AbortController | undefined
  /** A fetch is under way. */
  reading: boolean
}

export class HostStatements {
  readonly #lease: Lease
  readonly #host: Host
  /** Made when the first is: few leases have any. */
  #streams: Map<number, Stream> | null = null
  #nested: Map<number, NestedTransaction> | null = null

  constructor(lease: Lease, host: Host) {
    this.#lease = lease
    this.#host = host
  }

  /** Not an async function, which would take a few more ticks. @throws what the call is refused with */
  carryOut(call: Exclude<LeaseCall, Entry<'leave'>>): Promise<QueryResult | void> {
    switch (call[0]) {
      case 'statement': {
        this.#check()
        const signal = call[3][6] ? this.#host.abortOf(call[2]).signal : undefined
        throwIfAborted(signal)
        return this.#lease.query(decodeCall(call[3], this.#host.shared.texts, signal), null)
      }
      case 'commit':
      case 'rollback':
        this.#check(true)
        return this.#lease[call[0]]()
      case 'nest':
        return this.#nest(call[3])
      case 'finish':
        return this.#takeNested(call[3]).finish(call[4])
      case 'abort':
        return this.#takeNested(call[3]).abort()
      case 'rows':
        return this.#readRows(call)
      case 'drop':
        return this.#drop(call[3])
      default:
        return call satisfies never
    }
  }

  #check(forEnding = false): void {
    const refusal = this.#lease.refusal(forEnding)
    if (refusal !== null) throw refusal
  }

  async #nest(number: number): Promise<void> {
    this.#check()
    const nested = await this.#lease.nest()
    this.#nested ??= new Map()
    this.#nested.set(number, nested)
  }

  /** @throws `ConnectionReleasedError` where there is none of that number any more */
  #takeNested(number: number): NestedTransaction {
    const nested = this.#nested?.get(number)
    if (nested === undefined) throw new ConnectionReleasedError('transaction')
    this.#nested!.delete(number)
    return nested
  }

  async #readRows([, , id, number, opening]: Entry<'rows'>): Promise<QueryResult> {
    try {
      const stream = opening === null ? this.#streams?.get(number) : this.#open(id, number, opening)
      if (stream === undefined) throw new ConnectionReleasedError()
      if (stream.abort !== undefined) this.#host.aborts.set(id, stream.abort)
      stream.reading = true
      const rows = (await stream.rows.read()) as QueryResult['rows']
      stream.reading = false
      // The worker asks no more where these are the last.
      if (rows.length < stream.batchSize) await this.#drop(number)
      return { command: '', rowCount: null, oid: 0, fields: stream.rows.fields, rows }
    } catch (error) {
      await this.#drop(number)
      throw error
    }
  }

  /** It belongs to the innermost nested transaction, which may be over before the rows are opened. */
  #open(id: number, number: number, [statement, batchSize]: NonNullable<Entry<'rows'>[4]>): Stream {
    const innermost = [...(this.#nested?.keys() ?? [])].at(-1)
    const refusal = (): Error | null => {
      const isOver = innermost !== undefined && !this.#nested!.has(innermost)
      return isOver ? new ConnectionReleasedError('transaction') : null
    }
    const abort = statement[6] ? this.#host.abortOf(id) : undefined
    const call = decodeCall(statement, this.#host.shared.texts, abort?.signal)
    const rows = this.#lease.openRows(call, batchSize, refusal)
    const stream = { rows, batchSize, abort, reading: false }
    this.#streams ??= new Map()
    this.#streams.set(number, stream)
    return stream
  }

  async #drop(number: number): Promise<void> {
    const stream = this.#streams?.get(number)
    this.#streams?.delete(number)
    await stream?.rows.close()
  }

  /** Nobody reads them any more. One that is being read ends with the lease. */
  closeStreams(): void {
    for (const { reading, rows } of this.#streams?.values() ?? []) if (!reading) void rows.close()
  }
}
