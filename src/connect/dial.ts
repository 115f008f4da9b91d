import { appendFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { timerFor } from '../util/timer.js'
import { Failure, isNetworkError, networkFailure } from './failures.js'
import type { AttemptTarget, Encryption, Try } from './failures.js'
import { PROTOCOL_NAME, tlsOptions } from './tls.js'
import { waitFor } from './waiting.js'

interface Reached {
  readonly socket: Socket
  /** What came of the wish for encryption: with `prefer` the server may decline. */
  readonly encryption: Encryption
}

/** The eight bytes that ask the server whether it will speak TLS. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

/**
 * Dials the target and, when encryption is wanted, agrees on it with the server. The socket is paused.
 *
 * @throws Failure of kind `network`, `tls` or `policy`, or the signal's reason
 */
export async function dial(tried: Try): Promise<Reached> {
  const socket = await connectTo(tried)
  if (tried.encryption === 'none') return { socket, encryption: 'none' }
  try {
    return await encrypt(socket, tried)
  } catch (error) {
    socket.destroy()
    throw tried.signal.aborted ? error : tlsFailure(error as Error, tried.target)
  }
}

async function connectTo({ target, plan, signal, onReached }: Try): Promise<Socket> {
  // The abstract namespace, which libpq writes with an "@", begins with a zero byte.
  const path = target.socket?.replace(/^@/, '\0')
  const socket = connect(path === undefined ? { host: target.address!, port: target.port } : { path })
  try {
    await waitFor(socket, 'connect', signal)
  } catch (error) {
    throw signal.aborted ? error : networkFailure(error as Error, target)
  }
  onReached?.()
  const { enabled, initialDelayMillis } = plan.keepAlive
  if (path === undefined) socket.setKeepAlive(enabled, initialDelayMillis)
  return socket
}

async function encrypt(socket: Socket, { target, plan: { tls: plan }, signal }: Try): Promise<Reached> {
  // Read before anything is sent: a missing file must not look like the server's fault.
  const options = tlsOptions(plan, target.host)
  if (plan.negotiation === 'postgres' && (await askForTls(socket, signal)) === 'N') {
    if (plan.mode === 'prefer' || plan.mode === 'allow') return { socket, encryption: 'none' }
    throw new Failure('tls', 'server does not support SSL, but SSL was required')
  }
  // TLS reports what happens to the socket beneath; this only keeps the same error from being unhandled.
  socket.on('error', () => {})
  const protocols = plan.negotiation === 'direct' ? { ALPNProtocols: [PROTOCOL_NAME] } : {}
  const secured = startTls({ ...options, ...protocols, socket })
  const { keyLogFile } = plan
  if (keyLogFile !== '') secured.on('keylog', (line) => appendFileSync(keyLogFile, line, { mode: 0o600 }))
  await waitFor(secured, 'secureConnect', signal)
  if (plan.negotiation === 'direct' && secured.alpnProtocol !== PROTOCOL_NAME) {
    secured.destroy()
    const fault = 'direct SSL connection was established without ALPN protocol negotiation extension'
    throw new Failure('tls', fault)
  }
  return { socket: secured, encryption: 'tls' }
}

/** Node throws at once for a certificate or key that it cannot read. */
function startTls(options: ConnectionOptions): TLSSocket {
  try {
    return connectTls(options)
  } catch (error) {
    throw new Failure('policy', `could not set up TLS: ${(error as Error).message}`, error)
  }
}

/** Asks for TLS in the way of the protocol: the server answers with one letter. */
async function askForTls(socket: Socket, signal: AbortSignal): Promise<'S' | 'N'> {
  socket.write(SSL_REQUEST)
  const answer = await waitFor<Buffer>(socket, 'data', signal)
  // Nothing may be read past the answer, and what comes next is for TLS or for pg.
  socket.pause()
  const letter = String.fromCharCode(answer[0]!)
  if (answer.length > 1 && (letter === 'S' || letter === 'N')) {
    // Somebody in between may have put it there, to have it read as if it had come encrypted.
    throw new Failure('protocol', 'received unencrypted data after SSL response')
  }
  if (letter === 'S' || letter === 'N') return letter
  throw letter === 'E'
    ? new Failure('tls', 'server sent an error response during SSL exchange')
    : new Failure('protocol', `received invalid response to SSL negotiation: ${showByte(answer[0]!)}`)
}

/** Libpq shows the letter; what is no letter is shown as its number. */
function showByte(byte: number): string {
  return byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `0x${byte.toString(16).padStart(2, '0')}`
}

/** Whatever breaks while TLS is agreed on is a failure of TLS, so that `prefer` goes on without it. */
function tlsFailure(error: Error, target: AttemptTarget): Failure {
  if (error instanceof Failure && error.kind !== 'network') return error
  if (error instanceof Failure || isNetworkError(error)) {
    const failure = networkFailure(error, target)
    return new Failure('tls', `SSL error: ${failure.message}`, failure)
  }
  const { code = '' } = error as NodeJS.ErrnoException
  const untrusted = /^(?:UNABLE_TO|DEPTH_ZERO|SELF_SIGNED|CERT_|INVALID_CA|CRL_)/.test(code)
  const reason = untrusted ? `certificate verify failed: ${error.message}` : error.message
  return new Failure('tls', `SSL error: ${reason}`, error)
}

// ---- last words

/** How long the rest may take to be read once a write has failed, in milliseconds. */
const PATIENCE_MILLIS = 1_000

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

function afterReading(socket: Socket, done: (error?: Error | null) => void): typeof done {
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
