/** A TCP proxy that stands between a client and a server and does to them what networks do. */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { connectTo, type Address } from './address.js'
import { freePort } from './free-port.js'
import { Link, type CutKind } from './link.js'
import { Recording } from './recording.js'
import type { Direction } from './wire.js'

export type { CutKind, Direction }

/** Sees every chunk before it is passed on, and returns what to pass on; null swallows it. */
export type ChunkHook = (direction: Direction, chunk: Buffer, connection: Link) => Buffer | null

/** A place in the stream at which a connection is cut. */
export interface CutPoint {
  readonly direction: Direction
  /** So many bytes still pass, counted from now, or from the start of a connection that is made later. */
  readonly bytes: number
  readonly how?: CutKind
  /** Whose bytes are counted: each connection's by itself (default), or those of all connections together. */
  readonly counting?: 'each' | 'all'
}

/** A cut that will happen to the first connection that reaches its place. */
export interface PlannedCut extends Required<CutPoint> {
  /** Settles when it has happened. */
  readonly happened: Promise<void>
}

type Plan = PlannedCut & { readonly fire: () => void; passed: number }

/** Starts a proxy on 127.0.0.1 before a server that listens on TCP or on a Unix socket. */
export async function startProxy(target: Address): Promise<Proxy> {
  const proxy = new Proxy(target, await freePort())
  await proxy.accept()
  return proxy
}

/**
 * The proxy. Faults hold for all of its connections, open ones and later ones:
 *
 * ```ts
 * await using proxy = await startProxy(database.login)
 * const recording = proxy.record()
 * proxy.pause('toClient')      // the server's answers do not come through
 * proxy.cut('reset')           // and now they never will
 * ```
 */
export class Proxy implements Address, AsyncDisposable {
  readonly host = '127.0.0.1'
  readonly port: number
  /** How many connections were accepted so far. */
  accepted = 0
  /** How many bytes arrived, per direction. */
  readonly bytes: Record<Direction, number> = { toServer: 0, toClient: 0 }
  /** How long every chunk is on its way, in each direction. */
  delayMillis = 0
  /** Chunks may be so early. Timers fire a millisecond apart: with none, chunks come at most once in one. */
  slackMillis = 0
  /** Chunks are delivered in pieces of at most so many bytes, with a pause in between. */
  splitBytes = Infinity
  /** How long the pause between such pieces is; 0 is a turn of the event loop. */
  pieceMillis = 0
  /** See {@link ChunkHook}. */
  onChunk: ChunkHook | null = null

  readonly #target: Address
  readonly #links = new Set<Link>()
  readonly #recordings: Recording[] = []
  readonly #gates = { toServer: new Gate(), toClient: new Gate() }
  #planned: Plan | null = null
  #server: Server | null = null

  constructor(target: Address, port: number) {
    this.#target = target
    this.port = port
  }

  /** The connections that are open just now. */
  get connections(): readonly Link[] {
    return [...this.#links]
  }

  /** Keeps what arrives from passing, in one direction or both: the other side seems deaf, not gone. */
  pause(direction?: Direction): void {
    for (const gate of this.#gatesOf(direction)) gate.close()
  }

  /** Lets pass what was kept, and everything after it. */
  resume(direction?: Direction): void {
    for (const gate of this.#gatesOf(direction)) gate.open()
  }

  /** Ends all connections now. What the client had sent before still reaches the server, unless it was kept. */
  cut(how: CutKind = 'fin'): void {
    for (const link of this.#links) link.cut(how)
  }

  /** Takes a plan back that has not happened yet. */
  cancelPlan(): void {
    this.#planned = null
  }

  /** Ends one connection when so many bytes have passed. Replaces an earlier plan that has not happened yet. */
  cutAfter({ direction, bytes, how = 'fin', counting = 'each' }: CutPoint): PlannedCut {
    let fire!: () => void
    const happened = new Promise<void>((resolve) => (fire = resolve))
    const planned = { direction, bytes, how, counting, happened, fire, passed: 0 }
    for (const link of this.#links) link.mark(direction)
    this.#planned = planned
    return planned
  }

  /** Stops listening: who connects now gets ECONNREFUSED. Open connections stay. */
  refuse(): void {
    this.#server?.close()
    this.#server = null
  }

  /** Listens again after {@link refuse}. */
  async accept(): Promise<void> {
    if (this.#server !== null) return
    const server = createServer({ allowHalfOpen: true }, (client) => this.#join(client))
    server.listen(this.port, this.host)
    this.#server = server
    await once(server, 'listening')
  }

  /** Writes down all messages from now on. Begin before the client connects: a stream is read from its start. */
  record(): Recording {
    const recording = new Recording()
    this.#recordings.push(recording)
    return recording
  }

  /** Ends everything. */
  close(): void {
    this.refuse()
    for (const link of this.#links) link.destroy()
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close()
    return Promise.resolve()
  }

  #join(client: Socket): void {
    const link: Link = new Link(++this.accepted, client, connectTo(this.#target), {
      delayMillis: () => this.delayMillis,
      slackMillis: () => this.slackMillis,
      splitBytes: () => this.splitBytes,
      pieceMillis: () => this.pieceMillis,
      passGate: (direction) => this.#gates[direction].passed(),
      arrived: (direction, chunk) => this.#arrived(direction, chunk, link),
      transform: (direction, chunk) => (this.onChunk === null ? chunk : this.onChunk(direction, chunk, link)),
      room: (direction, since) => this.#room(direction, since),
      passed: (direction, bytes) => this.#passed(direction, bytes),
      full: () => this.#firePlanned(link),
      closed: () => this.#links.delete(link),
    })
    this.#links.add(link)
  }

  #arrived(direction: Direction, chunk: Buffer, link: Link): void {
    this.bytes[direction] += chunk.length
    for (const recording of this.#recordings) recording.observe(direction, chunk, link.id)
  }

  /** How many bytes may still pass before the planned cut, when so many have passed since it was planned. */
  #room(direction: Direction, since: number): number {
    if (this.#planned?.direction !== direction) return Infinity
    return this.#planned.bytes - (this.#planned.counting === 'all' ? this.#planned.passed : since)
  }

  #passed(direction: Direction, bytes: number): void {
    if (this.#planned?.direction === direction) this.#planned.passed += bytes
  }

  #firePlanned(link: Link): void {
    const planned = this.#planned
    if (planned === null) return
    this.#planned = null
    link.cut(planned.how)
    planned.fire()
  }

  #gatesOf(direction?: Direction): Gate[] {
    return direction === undefined ? Object.values(this.#gates) : [this.#gates[direction]]
  }
}

/** Open or closed; who wants to pass a closed one waits. */
class Gate {
  #opened: Promise<void> | null = null
  #open: () => void = () => {}

  close(): void {
    this.#opened ??= new Promise((resolve) => (this.#open = resolve))
  }

  open(): void {
    this.#opened = null
    this.#open()
  }

  /** Null when there is nothing to wait for. */
  passed(): Promise<void> | null {
    return this.#opened
  }
}
