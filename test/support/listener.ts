/** A port that somebody listens on who is no server. */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'

export interface Listener extends AsyncDisposable {
  readonly port: number
  readonly sockets: ReadonlySet<Socket>
  readonly server: Server
}

/** Accepts, reads and never answers, unless it is told to do something else with a socket. */
export async function startListener(onSocket: (socket: Socket) => void = () => {}): Promise<Listener> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    socket.resume()
    onSocket(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const dispose = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  }
  return { port, sockets, server, [Symbol.asyncDispose]: dispose }
}
