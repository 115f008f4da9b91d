/**
 * Frontend messages of the extended query protocol, written one behind the other into one piece of memory, so
 * that a statement is one buffer and one write (manual, chapter "Frontend/Backend Protocol", "Message Formats").
 */

const CHUNK_BYTES = 64 * 1024

const PARSE = 0x50
const BIND = 0x42
const DESCRIBE = 0x44
const EXECUTE = 0x45
const CLOSE = 0x43
const SYNC = 0x53
const FLUSH = 0x48
const QUERY = 0x51

/** A value as it travels: text, bytes, or NULL. */
export type WireValue = string | Buffer | null

export const NO_VALUES: readonly WireValue[] = []

/** Collects messages; `take()` gives them as one buffer. */
export class MessageWriter {
  #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  /** Where the messages not yet taken begin. */
  #start = 0
  #offset = 0

  /** Parse: `name` is empty for the unnamed statement. Parameter types are left to the server. */
  parse(name: string, text: string): this {
    const at = this.#begin(PARSE, name.length * 3 + text.length * 3 + 8)
    this.#cstring(name)
    this.#cstring(text)
    this.#int16(0)
    return this.#end(at)
  }

  /** Bind to the unnamed portal; buffers go in binary format, everything else as text. */
  bind(statement: string, values: readonly WireValue[], binaryResults: boolean): this {
    const at = this.#begin(BIND, statement.length * 3 + 2 * values.length + 16)
    this.#cstring('')
    this.#cstring(statement)
    this.#int16(values.length)
    for (const value of values) this.#int16(Buffer.isBuffer(value) ? 1 : 0)
    this.#int16(values.length)
    for (const value of values) this.#value(value)
    this.#ensure(4)
    this.#int16(1)
    this.#int16(binaryResults ? 1 : 0)
    return this.#end(at)
  }

  /** Describe of the unnamed portal. */
  describe(): this {
    const at = this.#begin(DESCRIBE, 2)
    this.#chunk[this.#offset++] = 0x50
    this.#chunk[this.#offset++] = 0
    return this.#end(at)
  }

  /** Execute of the unnamed portal, to its end. */
  execute(): this {
    const at = this.#begin(EXECUTE, 5)
    this.#chunk[this.#offset++] = 0
    this.#int32(0)
    return this.#end(at)
  }

  /** Close of a prepared statement. */
  close(name: string): this {
    const at = this.#begin(CLOSE, name.length + 2)
    this.#chunk[this.#offset++] = 0x53
    this.#cstring(name)
    return this.#end(at)
  }

  sync(): this {
    return this.#end(this.#begin(SYNC, 0))
  }

  flush(): this {
    return this.#end(this.#begin(FLUSH, 0))
  }

  /** A simple Query, which may hold several statements. */
  query(text: string): this {
    const at = this.#begin(QUERY, text.length * 3 + 1)
    this.#cstring(text)
    return this.#end(at)
  }

  /** What was written since the last call, as one buffer. It is never written to again. */
  take(): Buffer {
    const taken = this.#chunk.subarray(this.#start, this.#offset)
    this.#start = this.#offset
    return taken
  }

  /** Throws away what was written since the last `take()`. */
  discard(): void {
    this.#offset = this.#start
  }

  #begin(code: number, bytes: number): number {
    this.#ensure(bytes + 5)
    const at = this.#offset - this.#start
    this.#chunk[this.#offset] = code
    this.#offset += 5
    return at
  }

  /** Fills in the length. `at` counts from `#start`, because a message that grows may have moved to a new chunk. */
  #end(at: number): this {
    const begin = this.#start + at
    this.#chunk.writeUInt32BE(this.#offset - begin - 1, begin + 1)
    return this
  }

  #value(value: WireValue): void {
    if (value === null) {
      this.#ensure(4)
      this.#int32(-1)
    } else if (typeof value === 'string') {
      // UTF-8 takes at most three bytes for a UTF-16 unit; the length is filled in once it is known.
      this.#ensure(4 + value.length * 3)
      const written = this.#chunk.write(value, this.#offset + 4)
      this.#int32(written)
      this.#offset += written
    } else {
      this.#ensure(4 + value.length)
      this.#int32(value.length)
      value.copy(this.#chunk, this.#offset)
      this.#offset += value.length
    }
  }

  #cstring(text: string): void {
    if (text !== '') this.#offset += this.#chunk.write(text, this.#offset)
    this.#chunk[this.#offset++] = 0
  }

  #int16(value: number): void {
    this.#chunk[this.#offset++] = value >>> 8
    this.#chunk[this.#offset++] = value
  }

  #int32(value: number): void {
    this.#chunk[this.#offset++] = value >>> 24
    this.#chunk[this.#offset++] = value >>> 16
    this.#chunk[this.#offset++] = value >>> 8
    this.#chunk[this.#offset++] = value
  }

  /** Makes room for `bytes` more, in a new chunk where this one has not enough. */
  #ensure(bytes: number): void {
    if (this.#offset + bytes <= this.#chunk.length) return
    const pending = this.#chunk.subarray(this.#start, this.#offset)
    const size = pending.length + bytes
    const chunk = Buffer.allocUnsafeSlow(size <= CHUNK_BYTES ? CHUNK_BYTES : size * 2)
    pending.copy(chunk)
    this.#chunk = chunk
    this.#start = 0
    this.#offset = pending.length
  }
}
