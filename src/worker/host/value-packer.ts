/** Makes of the cells of one result what can be sent to a worker. */
import { className, ownBytes, isCloneable } from '../cloneable.js'
import { KeptCell } from './travelling-types.js'
import type { Found } from '../cloneable.js'
import type { RawCell } from '../protocol.js'

/** Buffers from this size on are given away instead of copied. */
const GIVEN_AWAY_BYTES = 16_384

export class ValuePacker implements Found {
  /** Bytes are among the cells. */
  bytes = false
  /** What the worker has to parse; null for nothing. */
  odd: RawCell[] | null = null
  readonly #transfer: (buffer: ArrayBuffer) => void

  /** `transfer` is told of buffers that are given away. */
  constructor(transfer: (buffer: ArrayBuffer) => void) {
    this.#transfer = transfer
  }

  /** What to send for the value of a cell; `index` and `column` say which it is. */
  pack(value: unknown, index: number, column: string): unknown {
    if (value instanceof KeptCell) return this.#packKept(value, index, column)
    if (!(value instanceof Buffer)) return value
    this.bytes = true
    return this.#packBytes(value)
  }

  #packKept({ value, text, dataTypeID, format }: KeptCell, index: number, column: string): unknown {
    if (value !== undefined && isCloneable(value, this))
      return value instanceof Buffer ? ownBytes(value) : value
    this.odd ??= []
    const kind = value === undefined ? null : className(value)
    this.odd.push({ index, column, text, dataTypeID, format, className: kind })
    return null
  }

  /** A large one was made by pg for this cell alone, of the text that the server sent. */
  #packBytes(bytes: Buffer): Uint8Array {
    const own = ownBytes(bytes)
    if (own.byteLength >= GIVEN_AWAY_BYTES) this.#transfer(own.buffer as ArrayBuffer)
    return own
  }
}
