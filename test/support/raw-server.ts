/** A peer that speaks as its script says, right or wrong: for what no honest server would do. */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { Address } from './address.js'
import { backend } from './backend-messages.js'
import { FrontendParser, type WireMessage } from './wire.js'

/** What a script sees of one connection. */
export interface RawPeer {
  /** Its number among the connections, from 1. */
  readonly id: number
  readonly socket: Socket
  send(...messages: readonly Buffer[]): void
}

/** Called for every message that a client sends. */
export type Script = (message: WireMessage, peer: RawPeer) => void

/** Listens on 127.0.0.1. */
export interface RawServer extends Address, AsyncDisposable {
  /** A connection string that leads here, without TLS. */
  readonly conninfo: string
  /** How many connections were accepted. */
  readonly accepted: number
}

/** What a server says to let everybody in. */
export const LOGIN: readonly Buffer[] = [
  backend.authenticationOk,
  backend.parameterStatus('server_version', '18.0'),
  backend.backendKeyData(4711, 1),
  backend.readyForQuery('I'),
]

/** Answers each Sync and each simple query as an empty statement that went well. */
export const answerWell: Script = ({ name }, peer) => {
  if (name === 'Startup') peer.send(...LOGIN)
  if (name === 'Parse') peer.send(backend.parseComplete)
  if (name === 'Bind') peer.send(backend.bindComplete)
  if (name === 'Describe') peer.send(backend.noData)
  if (name === 'Execute') peer.send(backend.commandComplete('SELECT 0'))
  if (name === 'Query') peer.send(backend.commandComplete('SELECT 0'), backend.readyForQuery('I'))
  if (name === 'Sync') peer.send(backend.readyForQuery('I'))
  if (name === 'Terminate') peer.socket.end()
}

export async function startRawServer(script: Script): Promise<RawServer> {
  const sockets = new Set<Socket>()
  let accepted = 0
  const server = createServer((socket) => {
    const peer = {
      id: ++accepted,
      socket,
      send: (...all: readonly Buffer[]) => void socket.write(Buffer.concat(all)),
    }
    const parser = new FrontendParser()
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      for (const message of parser.push(chunk)) if (!socket.destroyed) script(message, peer)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  return {
    host: '127.0.0.1',
    port,
    conninfo: `postgres://user@127.0.0.1:${port}/db?sslmode=disable`,
    get accepted() {
      return accepted
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
