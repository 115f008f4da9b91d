/** What a worker asks for within a lease that it holds: each is answered by its number. */
import { ConnectionReleasedError } from '../../errors.js'
import { throwIfAborted } from '../../util/abort-signals.js'
import { decodeCall } from '../wire-statement.js'
import { HostStream } from './host-stream.js'
import type { NestedTransaction } from '../../api/ports.js'
import type { Lease } from '../../lease/lease.js'
import type { LeaseEntry, WireStatement } from '../protocol.js'
import type { HostContext } from './host-context.js'

type Asked = Exclude<LeaseEntry, readonly ['begun' | 'autocommit' | 'leave', ...unknown[]]>

export class HostStatements {
  readonly #lease: Lease
  readonly #context: HostContext
  /** The session may be in another state. */
  readonly #tellState: () => void
  /** Made when the first is: few leases have any. */
  #streams: Map<number, HostStream> | null = null
  #nested: Map<number, NestedTransaction> | null = null
  #unanswered = 0

  constructor(lease: Lease, context: HostContext, tellState: () => void) {
    this.#lease = lease
    this.#context = context
    this.#tellState = tellState
  }

  get unanswered(): number {
    return this.#unanswered
  }

  act(entry: Asked): void {
    switch (entry[0]) {
      case 'statement':
        return void this.#query(entry[2], entry[3])
      case 'commit':
      case 'rollback':
        return void this.#run(entry[2], () => this.#end(entry[0]))
      case 'nest':
        return void this.#run(entry[2], () => this.#nest(entry[2]))
      case 'finish':
        return void this.#run(entry[2], () => this.#takeNested(entry[3]).finish(entry[4]))
      case 'abort':
        return void this.#run(entry[2], () => this.#takeNested(entry[3]).abort())
      case 'rows':
        return void this.#readStream(entry[2], entry[3], entry[4])
      case 'drop':
        return void this.#run(entry[2], async () => this.#takeStream(entry[3])?.close())
      default:
        return entry satisfies never
    }
  }

  #check(forEnding = false): void {
    const refusal = this.#lease.refusal(forEnding)
    if (refusal !== null) throw refusal
  }

  async #query(id: number, statement: WireStatement): Promise<void> {
    const { shared, aborts } = this.#context
    this.#unanswered++
    try {
      this.#check()
      const signal = aborts.signalFor(id, statement)
      throwIfAborted(signal)
      const call = decodeCall(statement, shared.texts, signal)
      const result = await this.#lease.query(call, null)
      this.#tellState()
      this.#context.answer(id, result)
    } catch (error) {
      this.#tellState()
      this.#context.fail(id, error)
    }
    this.#unanswered--
    aborts.over(id)
  }

  async #run(id: number, action: () => Promise<void>): Promise<void> {
    try {
      await action()
      this.#tellState()
      this.#context.say(['done', id])
    } catch (error) {
      this.#tellState()
      this.#context.fail(id, error)
    }
  }

  async #end(verb: 'commit' | 'rollback'): Promise<void> {
    this.#check(true)
    await this.#lease[verb]()
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

  async #readStream(
    id: number,
    number: number,
    opening: readonly [statement: WireStatement, batchSize: number] | null,
  ): Promise<void> {
    const { aborts } = this.#context
    try {
      if (opening !== null) {
        this.#streams ??= new Map()
        this.#streams.set(number, this.#openStream(opening))
      }
      const stream = this.#streams?.get(number)
      if (stream === undefined) throw new ConnectionReleasedError()
      const rows = await stream.read(stream.abortable ? aborts.signal(id) : undefined)
      // The worker asks no more where these are the last.
      if (stream.batchSize > rows.rows.length) await this.#takeStream(number)?.close()
      this.#tellState()
      this.#context.say(['rows', id, rows])
    } catch (error) {
      await this.#takeStream(number)?.close()
      this.#tellState()
      this.#context.fail(id, error)
    }
    aborts.over(id)
  }

  /** It belongs to the innermost nested transaction, which may be over before the rows are opened. */
  #openStream(opening: readonly [statement: WireStatement, batchSize: number]): HostStream {
    const innermost = [...(this.#nested?.keys() ?? [])].at(-1)
    return new HostStream(this.#lease, opening, this.#context.shared.texts, () => {
      const isOver = innermost !== undefined && !this.#nested!.has(innermost)
      return isOver ? new ConnectionReleasedError('transaction') : null
    })
  }

  #takeStream(number: number): HostStream | undefined {
    const stream = this.#streams?.get(number)
    this.#streams?.delete(number)
    return stream
  }

  /** Nobody reads them any more. One that is being read ends with the lease. */
  closeStreams(): void {
    for (const stream of this.#streams?.values() ?? []) if (!stream.reading) void stream.close()
  }
}
