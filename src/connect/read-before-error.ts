import type { Socket } from 'node:net'
import { timerFor } from '../util/timer.js'

/** How long the rest may take to be read once a write has failed, in milliseconds. */
const PATIENCE_MILLIS = 1_000

type Done = (error?: Error | null) => void

/**
 * Node destroys a socket as soon as a write fails, and throws away what the server had said before it hung up: its
 * FATAL, or its answer to a COMMIT. With this, the failure is told when all of that has been read.
 */
export function readBeforeError(socket: Socket): void {
  const write = socket._write.bind(socket)
  socket._write = (chunk, encoding, done) => write(chunk, encoding, afterReading(socket, done))
  const writeAll = socket._writev?.bind(socket)
  if (writeAll !== undefined) socket._writev = (chunks, done) => writeAll(chunks, afterReading(socket, done))
}

function afterReading(socket: Socket, done: Done): Done {
  return (error) => {
    if (error == null || socket.readableEnded || socket.destroyed) return done(error)
    const tell = (): void => {
      timer?.stop()
      socket.off('end', tell).off('close', tell)
      done(error)
    }
    const timer = timerFor(PATIENCE_MILLIS, tell)
    timer?.unref()
    socket.on('end', tell).on('close', tell)
  }
}
