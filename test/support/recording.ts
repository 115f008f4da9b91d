/** What clients and server said to each other through a proxy. */
import { BackendParser, describe, FrontendParser, type Direction, type WireMessage } from './wire.js'

/** A message and how it travelled. */
export interface RecordedMessage extends WireMessage {
  readonly direction: Direction
  /** The number of the connection, from 1, in the order in which the proxy accepted them. */
  readonly connection: number
  /** Messages with the same number arrived in one piece, so they were most likely sent in one write. */
  readonly chunk: number
}

/** Everything since the recording began or was cleared, in the order in which it reached the proxy. */
export class Recording {
  readonly messages: RecordedMessage[] = []
  readonly #parsers = new Map<number, { frontend: FrontendParser; backend: BackendParser }>()
  #chunks = 0

  /** What clients sent, one string a message: `['Parse BEGIN', 'Bind', 'Execute', 'Flush', …]`. */
  sent(): string[] {
    return this.#described('toServer')
  }

  /** What the server sent. */
  received(): string[] {
    return this.#described('toClient')
  }

  /** Both, clients' messages with `> ` before them and the server's with `< `. */
  dialogue(): string[] {
    return this.messages.map(
      (message) => (message.direction === 'toServer' ? '> ' : '< ') + describe(message),
    )
  }

  /** What clients sent, one list for each piece that arrived. */
  sentTogether(): string[][] {
    const pieces = new Map<number, string[]>()
    for (const message of this.messages.filter(({ direction }) => direction === 'toServer')) {
      const piece = pieces.get(message.chunk) ?? []
      pieces.set(message.chunk, [...piece, describe(message)])
    }
    return [...pieces.values()]
  }

  /** Forgets what was said. */
  clear(): void {
    this.messages.length = 0
  }

  /** The proxy hands in every chunk as it arrives; recording must begin before the connection does. */
  observe(direction: Direction, bytes: Buffer, connection: number): void {
    const chunk = ++this.#chunks
    for (const message of this.#parse(direction, bytes, connection)) {
      this.messages.push({ ...message, direction, connection, chunk })
    }
  }

  #parse(direction: Direction, bytes: Buffer, connection: number): WireMessage[] {
    const { frontend, backend } = this.#parsersOf(connection)
    const messages = direction === 'toServer' ? frontend.push(bytes) : backend.push(bytes)
    for (const { name, about } of messages) {
      if (name === 'SSLRequest' || name === 'GSSENCRequest') backend.expectAnswer()
      if (name === 'EncryptionAnswer' && about !== 'N') frontend.becameEncrypted()
    }
    return messages
  }

  #parsersOf(connection: number): { frontend: FrontendParser; backend: BackendParser } {
    const known = this.#parsers.get(connection)
    if (known !== undefined) return known
    const fresh = { frontend: new FrontendParser(), backend: new BackendParser() }
    this.#parsers.set(connection, fresh)
    return fresh
  }

  #described(wanted: Direction): string[] {
    return this.messages.filter(({ direction }) => direction === wanted).map(describe)
  }
}
