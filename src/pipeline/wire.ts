/**
 * Frontend messages of the extended query protocol, written one behind the other into one piece of memory, so
 * that a statement is one buffer and one write (manual, chapter "Frontend/Backend Protocol", "Message Formats"). A long
 * text or value is a buffer of its own, of just its size, which goes with the write.
 */
import type { Writable } from 'node:stream'
import type { WireValue } from '../api/statement.js'

const CHUNK_BYTES = 64 * 1024

/** What is longer gets a buffer of its own, in characters or bytes. */
const LONG = 16 * 1024

const PARSE = 0x50
const BIND = 0x42
const DESCRIBE = 0x44
const EXECUTE = 0x45
const CLOSE = 0x43
const SYNC = 0x53
const FLUSH = 0x48
const QUERY = 0x51

/** Bind counts its values in 16 bits (manual, "Message Formats"). */
export const MOST_VALUES = 65_535

export const NO_VALUES: readonly WireValue[] = []

/** Collects messages; `take()` gives what is to be written. */
export class MessageWriter {
  #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  /** Where what is not yet taken, nor among `#pieces`, begins. */
  #start = 0
  #offset = 0
  /** What comes before that. */
  #pieces: Buffer[] = []
  #pieceBytes = 0
  /** Where the message at hand began. */
  #header = this.#chunk
  #headerAt = 0
  /** How many bytes of it have been set apart. */
  #apart = 0

  /** Parse: `name` is empty for the unnamed statement. Parameter types are left to the server. */
  parse(name: string, text: string): this {
    this.#begin(PARSE, name.length * 3 + 8)
    this.#cstring(name)
    this.#text(text)
    this.#int16(0)
    return this.#end()
  }

  /** Bind to the unnamed portal; buffers go in binary format, everything else as text. */
  bind(statement: string, values: readonly WireValue[], binaryResults: boolean): this {
    this.#begin(BIND, statement.length * 3 + 2 * values.length + 16)
    this.#cstring('')
    this.#cstring(statement)
    this.#int16(values.length)
    for (const value of values) this.#int16(Buffer.isBuffer(value) ? 1 : 0)
    this.#int16(values.length)
    for (const value of values) this.#value(value)
    this.#ensure(4)
    this.#int16(1)
    this.#int16(binaryResults ? 1 : 0)
    return this.#end()
  }

  /** Describe of the unnamed portal. */
  describe(): this {
    this.#begin(DESCRIBE, 2)
    this.#chunk[this.#offset++] = 0x50
    this.#chunk[this.#offset++] = 0
    return this.#end()
  }

  /** Execute of the unnamed portal, to its end. */
  execute(): this {
    this.#begin(EXECUTE, 5)
    this.#chunk[this.#offset++] = 0
    this.#int32(0)
    return this.#end()
  }

  /** Close of a prepared statement. */
  close(name: string): this {
    this.#begin(CLOSE, name.length * 3 + 2)
    this.#chunk[this.#offset++] = 0x53
    this.#cstring(name)
    return this.#end()
  }

  sync(): this {
    this.#begin(SYNC, 0)
    return this.#end()
  }

  flush(): this {
    this.#begin(FLUSH, 0)
    return this.#end()
  }

  /** A simple Query, which may hold several statements. */
  query(text: string): this {
    this.#begin(QUERY, 1)
    this.#text(text)
    return this.#end()
  }

  /** One command without values, by the unnamed statement. */
  command(text: string): this {
    return this.parse('', text).bind('', NO_VALUES, false).execute()
  }

  /** BEGIN with a Flush, so that it is answered at once and not with the slow statement behind it. */
  begin(text: string, locals: readonly string[]): this {
    this.command(text)
    for (const local of locals) this.command(local)
    return this.flush()
  }

  /** How many bytes were written since the last `take()`. */
  get bytes(): number {
    return this.#pieceBytes + this.#offset - this.#start
  }

  /** What was written since the last call, in order: it is never written to again. */
  take(): readonly Buffer[] {
    this.#setApart()
    const taken = this.#pieces
    this.#pieces = []
    this.#pieceBytes = 0
    return taken
  }

  /** Begins a message with so many bytes at least. */
  #begin(code: number, bytes: number): void {
    this.#ensure(bytes + 5)
    this.#header = this.#chunk
    this.#headerAt = this.#offset
    // What stands before it in the same piece is not its own.
    this.#apart = this.#start - this.#offset
    this.#chunk[this.#offset] = code
    this.#offset += 5
  }

  /** Fills in the length, which counts itself and not the code. */
  #end(): this {
    this.#header.writeUInt32BE(this.#apart + this.#offset - this.#start - 1, this.#headerAt + 1)
    return this
  }

  /** What has been written so far stays as it is; what comes next is another piece. */
  #setApart(): void {
    if (this.#offset > this.#start) this.#push(this.#chunk.subarray(this.#start, this.#offset))
    this.#start = this.#offset
  }

  /** Adds bytes that are a piece of their own. */
  #push(piece: Buffer): void {
    this.#pieces.push(piece)
    this.#pieceBytes += piece.length
    this.#apart += piece.length
  }

  /** A text and its zero. */
  #text(text: string): void {
    if (text.length > LONG) {
      this.#setApart()
      this.#push(Buffer.from(text))
      text = ''
    }
    this.#ensure(text.length * 3 + 1)
    this.#cstring(text)
  }

  #value(value: WireValue): void {
    // UTF-8 takes at most three bytes for a UTF-16 unit; the length is filled in once it is known.
    const isText = typeof value === 'string'
    const inPlace = value !== null && value.length <= LONG
    this.#ensure(inPlace ? 4 + value.length * (isText ? 3 : 1) : 4)
    if (value === null) this.#int32(-1)
    else if (inPlace) {
      const at = this.#offset + 4
      const written = isText ? this.#chunk.write(value, at) : value.copy(this.#chunk, at)
      this.#int32(written)
      this.#offset += written
    } else {
      const bytes = isText ? Buffer.from(value) : value
      this.#int32(bytes.length)
      this.#setApart()
      this.#push(bytes)
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
    this.#setApart()
    this.#chunk = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, bytes))
    this.#start = 0
    this.#offset = 0
  }
}

/** Writes pieces at once. */
export function writeAll(stream: Writable, pieces: readonly Buffer[]): void {
  const [only] = pieces
  if (pieces.length === 1) stream.write(only)
  else if (pieces.length > 1) {
    stream.cork()
    for (const piece of pieces) stream.write(piece)
    stream.uncork()
  }
}
