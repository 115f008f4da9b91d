import type { Socket } from 'node:net'
import { Failure } from './attempt-error.js'

/** What libpq says when the other side hangs up. */
export const CLOSED = 'server closed the connection unexpectedly'

/**
 * Waits for an event of a socket. An error, the end of the socket or the signal rejects, and then the socket is
 * destroyed. No listener stays behind.
 *
 * @returns what the event carries
 */
export function waitFor<T>(socket: Socket, event: string, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const settle = (act: () => void) => {
      socket.off(event, onEvent).off('error', onError).off('close', onClose)
      signal.removeEventListener('abort', onAbort)
      act()
    }
    const fail = (error: unknown) =>
      settle(() => {
        // An error that comes after this one must not be an uncaught exception.
        socket.on('error', () => {}).destroy()
        reject(error as Error)
      })
    const onEvent = (value: T) => settle(() => resolve(value))
    const onError = (error: Error) => fail(error)
    const onClose = () => fail(new Failure('network', CLOSED))
    const onAbort = () => fail(signal.reason)
    socket.on(event, onEvent).on('error', onError).on('close', onClose)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
  })
}
