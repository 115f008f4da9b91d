/**
 * The messages of a client, cut out of the bytes that it writes, and the few that are answered here (manual,
 * chapter "Frontend/Backend Protocol", "Message Formats").
 */

const PROTOCOL_3 = 196_608
/** For TLS, and for GSSAPI. */
const ENCRYPTION_REQUESTS = [80_877_103, 80_877_104]

const QUERY = 0x51
const PARSE = 0x50
const EXECUTE = 0x45
const SYNC = 0x53
const FLUSH = 0x48
const TERMINATE = 0x58
/** CopyData, CopyDone and CopyFail. */
const COPY = new Set([0x64, 0x63, 0x66])

/** What a client asks for in one go. */
export type ClientRequest =
  /** Before anything else: the settings that it wants, by name. */
  | { readonly kind: 'startup'; readonly bytes: Buffer; readonly settings: ReadonlyMap<string, string> }
  | { readonly kind: 'encryption' }
  /** Messages up to one that wants an answer. `ends`: the last is a Query or a Sync, answered by ReadyForQuery. */
  | { readonly kind: 'messages'; readonly bytes: Buffer; readonly ends: boolean }
  /** Nothing more: it takes its leave, or what it says is not of the protocol. */
  | { readonly kind: 'goodbye' }

/** Sent behind what may be COPY FROM STDIN; where it is not, PostgreSQL ignores it. */
const COPY_FAIL = message(
  0x66,
  'PGlite has no COPY FROM STDIN on a stream; use INSERT (with unnest() for many rows at a time), ' +
    "or COPY FROM '/dev/blob' by PGlite's own query()",
)

/** Collects what a client writes and gives it request by request. */
export class ClientMessages {
  #pending: Buffer = Buffer.alloc(0)
  #started = false
  /** A statement was prepared that may be COPY FROM STDIN. */
  #mayCopy = false

  push(bytes: Buffer): void {
    this.#pending = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes])
  }

  /** The next request; null where it is not all there yet. */
  next(): ClientRequest | null {
    return this.#started ? this.#nextMessages() : this.#nextOpening()
  }

  #nextOpening(): ClientRequest | null {
    if (this.#pending.length < 8) return null
    const length = this.#pending.readUInt32BE(0)
    if (this.#pending.length < length) return null
    const code = this.#pending.readUInt32BE(4)
    const bytes = this.#take(length)
    if (ENCRYPTION_REQUESTS.includes(code)) return { kind: 'encryption' }
    if (code !== PROTOCOL_3) return { kind: 'goodbye' }
    this.#started = true
    return { kind: 'startup', bytes, settings: readSettings(bytes) }
  }

  #nextMessages(): ClientRequest | null {
    const messages: Buffer[] = []
    let end = 0
    for (let at = 0; at + 5 <= this.#pending.length; at = end) {
      end = at + 1 + this.#pending.readUInt32BE(at + 1)
      if (end > this.#pending.length) return null
      const code = this.#pending[at]!
      if (code === TERMINATE) return { kind: 'goodbye' }
      // Nothing is ever copied in, so what comes of it is late: the copying has been refused.
      if (!COPY.has(code)) messages.push(...this.#guard(this.#pending.subarray(at, end)))
      if (code !== QUERY && code !== SYNC && code !== FLUSH) continue
      this.#take(end)
      return { kind: 'messages', bytes: Buffer.concat(messages), ends: code !== FLUSH }
    }
    return null
  }

  /** PGlite would read the copied rows at once, from nowhere, and never end. */
  #guard(bytes: Buffer): Buffer[] {
    const code = bytes[0]
    if (code === PARSE && saysStdin(bytes)) this.#mayCopy = true
    const copies = (code === QUERY && saysStdin(bytes)) || (code === EXECUTE && this.#mayCopy)
    return copies ? [bytes, COPY_FAIL] : [bytes]
  }

  #take(length: number): Buffer {
    const taken = this.#pending.subarray(0, length)
    this.#pending = this.#pending.subarray(length)
    return taken
  }
}

function saysStdin(bytes: Buffer): boolean {
  return /stdin/i.test(bytes.toString('latin1'))
}

/** Names and values, each ended by a zero. */
function readSettings(startup: Buffer): ReadonlyMap<string, string> {
  const words = startup.subarray(8).toString().split('\0')
  const settings = new Map<string, string>()
  for (let i = 0; words[i]; i += 2) settings.set(words[i]!, words[i + 1] ?? '')
  return settings
}

/** The answer to a wish for encryption: no. */
export const NO_ENCRYPTION = Buffer.from('N')

/** ErrorResponse that ends the session. */
export function fatalError(code: string, text: string): Buffer {
  return message(0x45, 'SFATAL', 'VFATAL', `C${code}`, `M${text}`, '')
}

/** NotificationResponse. */
export function notification(processID: number, channel: string, payload: string): Buffer {
  const process = Buffer.alloc(4)
  process.writeUInt32BE(processID)
  return message(0x41, process, channel, payload)
}

/** A message of one code and fields: texts, each ended by a zero, and bytes. */
function message(code: number, ...fields: (string | Buffer)[]): Buffer {
  const body = Buffer.concat(
    fields.map((field) => (typeof field === 'string' ? Buffer.from(`${field}\0`) : field)),
  )
  const head = Buffer.alloc(5)
  head[0] = code
  head.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
