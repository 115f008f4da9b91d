/** Takes the bytes of PostgreSQL's protocol apart, so that tests can say what went over the wire. */

/** Which way bytes go. */
export type Direction = 'toServer' | 'toClient'

/** One message of the protocol. */
export interface WireMessage {
  /** The protocol's name for it: `Query`, `Parse`, `ReadyForQuery`… */
  readonly name: string
  /** What it is about, if that can be said in a word: the text of a statement, a command tag, a status. */
  readonly about: string
  /** Its first byte, or an empty string for the few that have none. */
  readonly letter: string
  /** What follows the length. */
  readonly payload: Buffer
}

/** `Parse SELECT 1`, `Sync`, `ReadyForQuery I`: the form in which tests compare messages. */
export function describe({ name, about }: WireMessage): string {
  return about === '' ? name : `${name} ${about}`
}

const FRONTEND: Readonly<Record<string, string>> = {
  Q: 'Query',
  P: 'Parse',
  B: 'Bind',
  D: 'Describe',
  E: 'Execute',
  C: 'Close',
  H: 'Flush',
  S: 'Sync',
  X: 'Terminate',
  p: 'Password',
  d: 'CopyData',
  c: 'CopyDone',
  f: 'CopyFail',
  F: 'FunctionCall',
}

const BACKEND: Readonly<Record<string, string>> = {
  R: 'Authentication',
  S: 'ParameterStatus',
  K: 'BackendKeyData',
  Z: 'ReadyForQuery',
  T: 'RowDescription',
  D: 'DataRow',
  C: 'CommandComplete',
  E: 'ErrorResponse',
  N: 'NoticeResponse',
  A: 'NotificationResponse',
  G: 'CopyInResponse',
  H: 'CopyOutResponse',
  d: 'CopyData',
  c: 'CopyDone',
  I: 'EmptyQueryResponse',
  n: 'NoData',
  s: 'PortalSuspended',
  t: 'ParameterDescription',
  v: 'NegotiateProtocolVersion',
  1: 'ParseComplete',
  2: 'BindComplete',
  3: 'CloseComplete',
}

const OPENINGS: Readonly<Record<number, string>> = {
  80877102: 'CancelRequest',
  80877103: 'SSLRequest',
  80877104: 'GSSENCRequest',
}

/** What a parser expects next; after an accepted SSLRequest nothing can be read any more. */
type Mode = 'opening' | 'answer' | 'messages' | 'encrypted'

/** Collects one direction's bytes and cuts them into messages. */
abstract class Parser {
  protected mode: Mode
  #pending = Buffer.alloc(0)

  constructor(mode: Mode) {
    this.mode = mode
  }

  /** The messages that these bytes complete. */
  push(chunk: Buffer): WireMessage[] {
    this.#pending = Buffer.concat([this.#pending, chunk])
    const messages: WireMessage[] = []
    for (;;) {
      const length = this.#nextLength()
      if (length === null || this.#pending.length < length) return messages
      messages.push(this.read(this.#pending.subarray(0, length)))
      this.#pending = this.#pending.subarray(length)
    }
  }

  protected abstract read(bytes: Buffer): WireMessage

  /** How long the message at hand is as a whole, or null while that cannot be known. */
  #nextLength(): number | null {
    if (this.mode === 'encrypted') return null
    if (this.mode === 'answer') return 1
    const header = this.mode === 'opening' ? 0 : 1
    if (this.#pending.length < header + 4) return null
    return header + this.#pending.readUInt32BE(header)
  }
}

/** Reads what a client sends. */
export class FrontendParser extends Parser {
  /** `messages`: the stream is read from a place where the session is open already. */
  constructor(from: 'opening' | 'messages' = 'opening') {
    super(from)
  }

  /** The server has agreed to encryption. */
  becameEncrypted(): void {
    this.mode = 'encrypted'
  }

  protected read(bytes: Buffer): WireMessage {
    return this.mode === 'opening' ? this.#readOpening(bytes) : readTyped(bytes, FRONTEND, aboutFrontend)
  }

  #readOpening(bytes: Buffer): WireMessage {
    const name = OPENINGS[bytes.readUInt32BE(4)] ?? 'Startup'
    if (name === 'Startup') this.mode = 'messages'
    return { name, about: '', letter: '', payload: bytes.subarray(4) }
  }
}

/** Reads what a server sends. */
export class BackendParser extends Parser {
  constructor() {
    super('messages')
  }

  /** The client has asked for encryption: the next answer is a single byte. */
  expectAnswer(): void {
    this.mode = 'answer'
  }

  protected read(bytes: Buffer): WireMessage {
    return this.mode === 'answer' ? this.#readAnswer(bytes) : readTyped(bytes, BACKEND, aboutBackend)
  }

  #readAnswer(bytes: Buffer): WireMessage {
    const answer = bytes.toString('latin1')
    this.mode = answer === 'N' ? 'messages' : 'encrypted'
    return { name: 'EncryptionAnswer', about: answer, letter: '', payload: bytes }
  }
}

function readTyped(
  bytes: Buffer,
  names: Readonly<Record<string, string>>,
  about: (letter: string, payload: Buffer) => string,
): WireMessage {
  const letter = bytes.toString('latin1', 0, 1)
  const payload = bytes.subarray(5)
  return { name: names[letter] ?? `Unknown(${letter})`, about: about(letter, payload), letter, payload }
}

function aboutFrontend(letter: string, payload: Buffer): string {
  const [first = '', second = ''] = strings(payload, 2)
  switch (letter) {
    case 'Q':
      return first
    case 'P': // the statement's name, if it has one, and its text
      return first === '' ? second : `${first}: ${second}`
    case 'B': // the portal, the statement
      return second
    case 'D':
    case 'C': // S or P, then a name
      return first.slice(1)
    default:
      return ''
  }
}

function aboutBackend(letter: string, payload: Buffer): string {
  switch (letter) {
    case 'Z':
      return payload.toString('latin1')
    case 'C':
      return strings(payload, 1)[0] ?? ''
    case 'E':
    case 'N':
      return fieldOf(payload, 'C')
    default:
      return ''
  }
}

/** The first few of the zero-terminated strings at the start of a payload. */
function strings(payload: Buffer, count: number): string[] {
  const found: string[] = []
  let start = 0
  while (found.length < count) {
    const end = payload.indexOf(0, start)
    if (end < 0) break
    found.push(payload.toString('utf8', start, end))
    start = end + 1
  }
  return found
}

/** A field of an error or a notice; `C` is its SQLSTATE. */
function fieldOf(payload: Buffer, letter: string): string {
  const field = payload
    .toString('utf8')
    .split('\0')
    .find((text) => text.startsWith(letter))
  return field?.slice(1) ?? ''
}
