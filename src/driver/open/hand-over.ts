import type { Socket } from 'node:net'
import { clock } from '../../util/clock.js'
import { hearLastWords } from './last-words.js'

/**
 * Makes a connected socket fit pg, which calls `connect(port, host)` on its stream and waits for `connect`. The
 * socket flows from then on.
 */
export function handOver(socket: Socket): () => Socket {
  hearLastWords(socket)
  const connect = () => {
    clock.nextTick(() => {
      if (socket.destroyed) return
      socket.emit('connect')
      socket.resume()
    })
    return socket
  }
  Object.defineProperty(socket, 'connect', { value: connect, configurable: true })
  return () => socket
}
