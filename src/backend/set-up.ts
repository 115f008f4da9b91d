/** Sets a connection up before anyone gets it: runs `onConnect`, and learns what that left. */
import { ConnectError } from '../errors.js'
import { abortable, collectParameters, Failure, isTransientOpenError } from '../connect/index.js'
import { ask } from '../pg/ask.js'
import { internals } from '../pg/driver.js'
import { isFromServer } from '../util/thrown.js'
import { CustomSettingNames, readResetText } from './reset.js'
import type { Client } from 'pg'
import type { ResolvedOptions } from '../options.js'
import type { DriverClient } from '../pg/driver.js'

/** Who has a connection set up. */
export interface SetUpOwner {
  /** Finds out what became of COMMITs on the connection before, where that is to be known. */
  verify(client: Client): Promise<void>
  /** Runs the user's `onConnect` where asking for the connection is an error. */
  runOnConnect(work: () => Promise<void>): Promise<void>
  /** Sets up what outlives a connection, behind `onConnect`. */
  prepare(client: Client): Promise<void>
}

/**
 * Gives the commands that bring the session back to what `onConnect` left; empty where they are not wanted.
 *
 * @throws Failure where the connection is lost; `OwnFailure`
 */
export async function setUp(
  client: Client,
  { onConnect, reset }: Pick<ResolvedOptions, 'onConnect' | 'reset'>,
  owner: SetUpOwner,
): Promise<string> {
  const driver = internals(client)
  if (client.getTransactionStatus() !== 'I') {
    throw new Failure('protocol', 'the server began the session inside a transaction')
  }
  // Here the client is one caller's alone, with everything that pg offers.
  driver.pipeline = false
  let resetText = ''
  await untilLost(driver, async () => {
    await owner.verify(client)
    const custom = new CustomSettingNames()
    if (onConnect !== undefined) {
      const status = collectParameters(driver.connection)
      const work = () => owner.runOnConnect(async () => void (await onConnect(client)))
      await (reset === 'session' ? custom.during(client, work) : work())
      await checkSettled(client)
      status.stop()
      checkEncoding(status.parameters)
    }
    await owner.prepare(client)
    if (reset === 'session') resetText = await readResetText(client, custom.names)
  })
  driver.pipeline = true
  // The server may have said its last word right behind its first ReadyForQuery.
  if (driver.connection.stream.destroyed || !driver._queryable) throw lostInSetUp()
  return resetText
}

/** Runs `work`, but no longer than the connection lives: what waits for an answer then waits for ever. */
async function untilLost(driver: DriverClient, work: () => Promise<void>): Promise<void> {
  const lost = new AbortController()
  const onEnd = (): void => lost.abort(lostInSetUp())
  driver.connection.once('end', onEnd)
  try {
    await abortable(lost.signal, work())
  } catch (error) {
    // What pg says of a query on a lost connection tells nothing of why.
    if (!driver._queryable) throw isTransientOpenError(error) ? error : lostInSetUp(error)
    throw isFromServer(error) ? error : new OwnFailure(error)
  } finally {
    driver.connection.removeListener('end', onEnd)
  }
}

/** `onConnect`, or the function that gives the conninfo, has failed. A network error in it is about another connection. */
export class OwnFailure extends Error {
  constructor(override readonly cause: unknown) {
    super('a function of the user’s failed')
  }
}

/** Counted as a failure of the network, so that a reconnect tries again. */
function lostInSetUp(cause?: unknown): Failure {
  return new Failure('network', 'the connection was lost while it was set up', cause)
}

/** pg writes and reads UTF-8, and all callers share the session. */
function checkEncoding({ client_encoding: encoding = 'UTF8' }: Readonly<Record<string, string>>): void {
  if (encoding === 'UTF8') return
  throw new Error(`onConnect set client_encoding to ${encoding}, but pg writes and reads UTF8 only`)
}

/** Waits for what `onConnect` did not wait for, and checks that it left no transaction open. */
async function checkSettled(client: Client): Promise<void> {
  await ask(client, 'SELECT')
  if (client.getTransactionStatus() !== 'I') throw new Error('onConnect left a transaction open')
}

/** What the one who asked for the connection is told of a failure to set it up. */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error
  const reason = error instanceof Error ? error : new Error(String(error))
  return new ConnectError(`the connection could not be set up: ${reason.message}`, { errors: [reason] })
}
