import type { DriverClient } from '../pg/driver.js'
import { dial } from './dial.js'
import { AttemptError, Failure, isNetworkError, type Try } from './failures.js'
import { waitFor, withDeadline } from './waiting.js'

type SessionKey = Pick<DriverClient, 'processID' | 'secretKey'>

export interface CancelOptions {
  readonly signal?: AbortSignal
  /** In milliseconds; 0 or `Infinity`: no limit. Default: 10 000. */
  readonly timeoutMillis?: number
}

/** "1234" and "5678", two halves of what is not a version of the protocol. */
const CANCEL_CODE = (1234 << 16) | 5678

/**
 * Asks the server to cancel what a session is doing, over a connection of its own with the same TLS settings, and
 * waits until the server has hung up: then it has passed the request on.
 *
 * @throws AttemptError, or the signal's reason
 */
export async function cancelSession(
  session: SessionKey,
  of: Omit<Try, 'signal'>,
  options: CancelOptions = {},
): Promise<void> {
  const limits = { signal: options.signal, timeoutMillis: options.timeoutMillis ?? 10_000 }
  try {
    await withDeadline(limits, async (signal) => {
      const { socket, encryption } = await dial({ ...of, signal })
      if (encryption !== of.encryption) {
        // The key must not travel in clear when the session itself does not.
        socket.destroy()
        throw new Failure('tls', 'server does not support SSL, but SSL was required')
      }
      const closed = waitFor(socket, 'end', signal)
      socket.resume()
      // The other side hangs up first, as with libpq: PgBouncer 1.18 ends itself when the client does.
      socket.write(cancelRequest(session))
      await closed.catch((error: unknown) => {
        // Hanging up at once is an answer, too.
        if (signal.aborted || !(isNetworkError(error) || error instanceof Failure)) throw error
      })
      socket.destroy()
    })
  } catch (error) {
    throw error instanceof Failure ? new AttemptError(of.target, error, of.encryption) : error
  }
}

function cancelRequest({ processID, secretKey }: SessionKey): Buffer {
  const request = Buffer.alloc(16)
  for (const [index, word] of [16, CANCEL_CODE, processID ?? 0, secretKey ?? 0].entries()) {
    request.writeInt32BE(word, 4 * index)
  }
  return request
}
