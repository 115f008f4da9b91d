import type { Socket } from 'node:net'
import { timerFor } from '../util/timer.js'
import { CLOSED, Failure } from './failures.js'

interface Limits {
  readonly signal?: AbortSignal | undefined
  readonly timeoutMillis: number
}

/**
 * Runs work under a time limit in milliseconds (0 or `Infinity`: none) and the caller's signal, with whose reason it
 * rejects. The work is handed one signal for both, and must stop when it fires; nothing of this function's own stays
 * behind.
 */
export async function withDeadline<T>(limits: Limits, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const pass = () => controller.abort(limits.signal?.reason)
  const expire = () => controller.abort(new Failure('timeout', 'timeout expired'))
  const timer = timerFor(limits.timeoutMillis || Infinity, expire)
  limits.signal?.addEventListener('abort', pass)
  if (limits.signal?.aborted) pass()
  try {
    controller.signal.throwIfAborted()
    return await work(controller.signal)
  } finally {
    timer?.stop()
    limits.signal?.removeEventListener('abort', pass)
  }
}

/** Settles as the promise does, or rejects with the signal's reason as soon as it fires. */
export async function abortable<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  let stop = () => {}
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error)
    signal.addEventListener('abort', stop)
    if (signal.aborted) stop()
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
    // The one that comes second must not be reported as unhandled.
    promise.catch(() => {})
    aborted.catch(() => {})
  }
}

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
