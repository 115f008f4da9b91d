/**
 * Looks at the frames of what the server sends before pg's parser does, which trusts them: a length that lies has it
 * wait for ever, an error's list of fields that never ends has it read for ever, and an unknown type passes for the
 * error of whatever statement is being answered. What libpq would not take ends the connection here, too.
 */

const HEADER_BYTES = 5
const AUTHENTICATION = code('R')
const KEY_DATA = code('K')
const READY = code('Z')
const ERROR = code('E')
const NOTICE = code('N')

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

  /** Reads on. Throws at what no server says. */
  check(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) at = this.#left > 0 ? this.#skip(chunk, at) : this.#readHeader(chunk, at)
  }

  #readHeader(chunk: Buffer, at: number): number {
    // Most often it is all there, and need not be copied.
    if (this.#have === 0 && at + HEADER_BYTES <= chunk.length) {
      this.#begin(chunk[at]!, chunk.readUInt32BE(at + 1))
      return at + HEADER_BYTES
    }
    const taken = chunk.copy(this.#header, this.#have, at, at + HEADER_BYTES - this.#have)
    this.#have += taken
    if (this.#have === HEADER_BYTES) {
      this.#have = 0
      this.#begin(this.#header[0]!, this.#header.readUInt32BE(1))
    }
    return at + taken
  }

  #begin(type: number, length: number): void {
    const longest = LONGEST[type]!
    if (length < 4 || length > longest) throw violation(describe(type, length))
    this.#left = length - 4
    this.#listsFields = type === ERROR || type === NOTICE
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
    if (this.#listsFields) this.#watchTail(chunk, at, end)
    return end
  }

  /** The zero that ends the list comes behind the one that ends its last field. */
  #watchTail(chunk: Buffer, at: number, end: number): void {
    for (let i = Math.max(at, end - 2); i < end; i++) this.#tail = ((this.#tail << 8) | chunk[i]!) & 0xffff
    if (this.#left === 0 && this.#tail !== 0) throw violation('an error without its end')
  }
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
