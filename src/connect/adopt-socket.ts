import type { Socket } from 'node:net'
import { clock } from '../util/clock.js'
import { readBeforeError } from './read-before-error.js'

/**
 * Makes a connected socket fit pg, which calls `connect(port, host)` on its stream and waits for `connect`. The
 * socket flows from then on.
 */
export function adoptSocket(socket: Socket): () => Socket {
  readBeforeError(socket)
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
