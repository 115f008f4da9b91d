/**
 * Looks at the frames of what the server sends before pg's parser does, which trusts them: a length that lies has it
 * wait for ever, an error's list of fields that never ends has it read for ever, and an unknown type passes for the
 * error of whatever statement is being answered. What libpq would not take ends the connection here, too.
 *
 * A row that is longer than any string of this engine can be is left out: pg's parser would fail at it, and everybody's
 * statements with it. And the severity of an error is read here, untranslated, which pg's parser leaves out.
 */
import { constants } from 'node:buffer'

const HEADER_BYTES = 5
const AUTHENTICATION = code('R')
const KEY_DATA = code('K')
const READY = code('Z')
const ERROR = code('E')
const NOTICE = code('N')
const ROW = code('D')
const SEVERITY = code('V')

/** How much of an error is kept to find its severity in: that comes second. */
const SEVERITY_WITHIN = 128

/** The longest row that is passed on, in bytes. */
export const LONGEST_ROW = constants.MAX_STRING_LENGTH

export interface FramingHooks {
  /** What may be passed on, in order. */
  pass(part: Buffer): void
  /** A row of so many bytes is left out; what came before it has been passed on. */
  onRowTooLong(bytes: number): void
}

/** How long a message of each type may be, its length included; 0 for a type that no backend sends to pg. */
const LONGEST = new Uint32Array(256)
for (const type of 'RKZCIGHWcns123') LONGEST[code(type)] = 30_000
// Those that hold what a user has stored, or said. PostgreSQL's own buffers end at 1 GiB.
for (const type of 'TDdENAtS') LONGEST[code(type)] = 2 ** 30 + 4

export class Framing {
  readonly #header = Buffer.alloc(HEADER_BYTES)
  /** How many bytes of a header are in `#header`: those of one that two chunks share. */
  #have = 0
  /** How many bytes of the message at hand are still to come. */
  #left = 0
  /** The message at hand is an error or a notice: its last two bytes have to be zeros. */
  #listsFields = false
  /** Its last two bytes so far. */
  #tail = 0
  #loggedIn = false
  /** The message at hand is left out. */
  #dropping = false
  /** Where what is not passed on yet begins, in the chunk at hand. */
  #from = 0
  /** The beginning of the error at hand; null while there is none. */
  #error: Buffer[] | null = null
  /** The severities of the errors that were read, first to last; of those that say none, the empty string. */
  readonly severities: string[] = []

  /** Reads on. Throws at what is no message of a server's. */
  read(chunk: Buffer, hooks: FramingHooks): void {
    this.#from = 0
    let at = 0
    while (at < chunk.length) at = this.#left > 0 ? this.#skip(chunk, at) : this.#readHeader(chunk, at, hooks)
    this.#passOn(chunk, chunk.length, hooks)
  }

  #passOn(chunk: Buffer, end: number, hooks: FramingHooks): void {
    if (end > this.#from)
      hooks.pass(this.#from === 0 && end === chunk.length ? chunk : chunk.subarray(this.#from, end))
    this.#from = end
  }

  #readHeader(chunk: Buffer, at: number, hooks: FramingHooks): number {
    // Most often it is all there, and need not be copied.
    const end = at + HEADER_BYTES
    if (this.#have > 0 || end > chunk.length) return this.#readPartOfHeader(chunk, at, hooks)
    this.#begin(chunk[at]!, chunk.readUInt32BE(at + 1))
    if (this.#dropping) {
      this.#passOn(chunk, at, hooks)
      this.#from = end
      hooks.onRowTooLong(this.#left)
    }
    return end
  }

  /** It is held back until it is whole, and passed on, or left out, as one. */
  #readPartOfHeader(chunk: Buffer, at: number, hooks: FramingHooks): number {
    const taken = chunk.copy(this.#header, this.#have, at, at + HEADER_BYTES - this.#have)
    this.#have += taken
    const end = at + taken
    this.#passOn(chunk, at, hooks)
    this.#from = end
    if (this.#have < HEADER_BYTES) return end
    this.#have = 0
    this.#begin(this.#header[0]!, this.#header.readUInt32BE(1))
    if (this.#dropping) hooks.onRowTooLong(this.#left)
    else hooks.pass(Buffer.from(this.#header))
    return end
  }

  #begin(type: number, length: number): void {
    const longest = LONGEST[type]!
    if (length < 4 || length > longest) throw violation(describe(type, length))
    this.#left = length - 4
    this.#dropping = type === ROW && length > LONGEST_ROW
    this.#listsFields = type === ERROR || type === NOTICE
    this.#error = type === ERROR ? [] : null
    if (this.#listsFields) this.#beginFields()
    else if (type === READY) this.#loggedIn = true
    else if (this.#loggedIn && (type === AUTHENTICATION || type === KEY_DATA)) {
      throw violation('a message of the login after the login')
    }
  }

  #beginFields(): void {
    if (this.#left === 0) throw violation('an error without its end')
    // One without any field is a single zero.
    this.#tail = this.#left === 1 ? 0 : 0xffff
  }

  #skip(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#left)
    this.#left -= end - at
    if (this.#dropping) this.#from = end
    if (this.#listsFields) this.#watchTail(chunk, at, end)
    if (this.#error !== null) this.#watchError(this.#error, chunk.subarray(at, end))
    return end
  }

  #watchError(parts: Buffer[], part: Buffer): void {
    if (parts.length < SEVERITY_WITHIN) parts.push(part)
    if (this.#left > 0) return
    this.#error = null
    this.severities.push(severityIn(Buffer.concat(parts).subarray(0, SEVERITY_WITHIN)))
  }

  /** The zero that ends the list comes behind the one that ends its last field. */
  #watchTail(chunk: Buffer, at: number, end: number): void {
    for (let i = Math.max(at, end - 2); i < end; i++) this.#tail = ((this.#tail << 8) | chunk[i]!) & 0xffff
    if (this.#left === 0 && this.#tail !== 0) throw violation('an error without its end')
  }
}

/** The untranslated severity in the fields of an error; the empty string where there is none. */
function severityIn(fields: Buffer): string {
  let at = 0
  while (at < fields.length) {
    const end = fields.indexOf(0, at)
    if (end < 0) break
    if (fields[at] === SEVERITY) return fields.toString('latin1', at + 1, end)
    at = end + 1
  }
  return ''
}

function code(type: string): number {
  return type.charCodeAt(0)
}

function describe(type: number, length: number): string {
  if (LONGEST[type] === 0) return `a message of the unknown type 0x${type.toString(16).padStart(2, '0')}`
  return `a message of type ${String.fromCharCode(type)} and ${length} bytes`
}

function violation(what: string): Error {
  return new Error(`protocol violation: the server sent ${what}`)
}
