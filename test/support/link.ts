/** One client's connection through a proxy: two sockets and the two lanes between them. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Direction } from './wire.js'

/**
 * How a connection ends: with a RST (ECONNRESET at the client), with a FIN (an orderly end of the stream), or deaf:
 * nothing passes any more, and neither side learns of it. Half open: the client is told and the server is not.
 */
export type CutKind = 'reset' | 'fin' | 'deaf' | 'half open'

/** What a link asks of its proxy while bytes pass. */
export interface LinkRules {
  delayMillis(): number
  slackMillis(): number
  splitBytes(): number
  pieceMillis(): number
  /** A promise while bytes of this direction are kept back. */
  passGate(direction: Direction): Promise<void> | null
  arrived(direction: Direction, chunk: Buffer): void
  transform(direction: Direction, chunk: Buffer): Buffer | null
  /** How many bytes may pass when so many have passed since {@link Link.mark}. */
  room(direction: Direction, since: number): number
  /** So many more have passed. */
  passed(direction: Direction, bytes: number): void
  /** Everything that had room has passed. */
  full(): void
  closed(): void
}

/** A client's socket and the one that stands for it at the server. */
export class Link {
  /** Its number among the proxy's connections, from 1. */
  readonly id: number
  readonly #client: Socket
  readonly #upstream: Socket
  readonly #lanes: Record<Direction, Lane>
  readonly #rules: LinkRules
  readonly #lifetime = new AbortController()
  #deaf = false
  #open = 2

  constructor(id: number, client: Socket, upstream: Socket, rules: LinkRules) {
    this.id = id
    this.#client = client
    this.#upstream = upstream
    this.#rules = rules
    const { signal } = this.#lifetime
    this.#lanes = {
      toServer: new Lane('toServer', client, upstream, rules, signal),
      toClient: new Lane('toClient', upstream, client, rules, signal),
    }
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true)
      socket.on('error', () => this.cut('reset')) // one side failed, or the server is down: the other learns it
      socket.on('close', () => this.#closed())
    }
    // A deaf connection tells the client nothing, but the server must not keep what the client has given up.
    client.on('end', () => this.#deaf && upstream.destroy())
  }

  /** Counts the bytes of a direction from here. */
  mark(direction: Direction): void {
    this.#lanes[direction].since = 0
  }

  /** Ends both sides, unless it only goes deaf. The server always gets an orderly end, after what has already been passed to it. */
  cut(how: CutKind): void {
    this.#lifetime.abort()
    this.#deaf = how === 'deaf'
    if (how === 'reset' || how === 'half open') reset(this.#client)
    if (how === 'fin') this.#client.end()
    if (how === 'reset' || how === 'fin') this.#upstream.end()
    // What still arrives is thrown away, or the sockets would never see their end.
    this.#client.resume()
    this.#upstream.resume()
  }

  /** Ends both sides without manners. */
  destroy(): void {
    this.#lifetime.abort()
    this.#client.destroy()
    this.#upstream.destroy()
  }

  #closed(): void {
    this.#open--
    if (this.#open > 0) return
    this.#lifetime.abort()
    this.#rules.closed()
  }
}

/** Node 20 loses the handle of a socket that is reset while it says goodbye, so that it stays open for ever. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

interface Parcel {
  /** Null is the end of the stream. */
  readonly chunk: Buffer | null
  readonly due: number
}

/** While so many chunks wait in a lane, no more are read, so that the sender's buffers fill as on a real network. */
const LONGEST_QUEUE = 64

/** One direction: what arrives at one socket is delivered to the other, in order, when the rules allow. */
class Lane {
  /** Bytes passed since the last mark, or since the connection was made. */
  since = 0
  readonly #direction: Direction
  readonly #from: Socket
  readonly #to: Socket
  readonly #rules: LinkRules
  readonly #signal: AbortSignal
  readonly #aborted: Promise<unknown>
  readonly #queue: Parcel[] = []
  #delivering = false

  constructor(direction: Direction, from: Socket, to: Socket, rules: LinkRules, signal: AbortSignal) {
    this.#direction = direction
    this.#from = from
    this.#to = to
    this.#rules = rules
    this.#signal = signal
    this.#aborted = once(signal, 'abort')
    from.on('data', (chunk: Buffer) => {
      rules.arrived(direction, chunk)
      this.#enqueue(chunk)
    })
    from.on('end', () => this.#enqueue(null))
  }

  #enqueue(chunk: Buffer | null): void {
    if (this.#signal.aborted) return
    this.#queue.push({ chunk, due: performance.now() + this.#rules.delayMillis() })
    if (this.#queue.length > LONGEST_QUEUE) this.#from.pause()
    if (!this.#delivering) this.#deliverAll().catch(() => this.#queue.splice(0)) // it was cut
  }

  async #deliverAll(): Promise<void> {
    this.#delivering = true
    for (;;) {
      const parcel = this.#queue.shift()
      if (parcel === undefined) break
      await this.#travel(parcel)
      if (parcel.chunk === null) this.#to.end()
      else await this.#deliver(parcel.chunk)
    }
    this.#delivering = false
    this.#from.resume()
  }

  /** Waits for a parcel's delay and for the gate. Rejects when the connection is cut meanwhile. */
  async #travel({ due }: Parcel): Promise<void> {
    // Timers may fire a little early.
    for (let wait; (wait = due - performance.now()) > this.#rules.slackMillis();)
      await sleep(wait, undefined, { signal: this.#signal })
    for (;;) {
      const gate = this.#rules.passGate(this.#direction)
      if (gate === null) break
      await Promise.race([gate, this.#aborted])
      this.#signal.throwIfAborted()
    }
  }

  async #deliver(original: Buffer): Promise<void> {
    const chunk = this.#rules.transform(this.#direction, original)
    if (chunk === null) return
    const room = this.#rules.room(this.#direction, this.since)
    const allowed = chunk.subarray(0, Math.max(0, room))
    await this.#write(allowed)
    this.since += allowed.length
    this.#rules.passed(this.#direction, allowed.length)
    if (chunk.length >= room) this.#rules.full()
    this.#signal.throwIfAborted()
  }

  async #write(chunk: Buffer): Promise<void> {
    const size = this.#rules.splitBytes()
    for (let start = 0; start < chunk.length; start += size) {
      if (start > 0) await this.#pauseBetweenPieces()
      await this.#writePiece(chunk.subarray(start, start + size))
    }
  }

  async #pauseBetweenPieces(): Promise<void> {
    const pause = this.#rules.pieceMillis()
    if (pause > 0) await sleep(pause, undefined, { signal: this.#signal })
    else await nextTurn(undefined, { signal: this.#signal })
  }

  /** Resolves when the kernel has the bytes, so that a reset behind them cannot take them back. */
  #writePiece(piece: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#to.write(piece, (error) => (error ? reject(error) : resolve()))
    })
  }
}
