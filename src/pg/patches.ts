/**
 * Everything that this library changes of pg, or goes around, in one place. Each says which change of node-postgres
 * would end it; the tests fail when pg changes what one of them stands on.
 */
import { clock } from '../util/clock.js'
import { Framing } from './framing.js'
import { pg } from './pg.js'
import { noteSeverity } from './severity.js'
import type { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import type { Client } from 'pg'
import type { DriverClient, DriverConnection, QueuedQuery } from './driver.js'

/**
 * Makes pg accept a class of queries in its pipeline, which takes its own `Query` only. To call that one's constructor
 * would cost an EventEmitter and a dozen fields for each statement.
 *
 * Ends with: pipelining of any submittable (node-postgres #2646).
 */
export function lookLikeQuery(prototype: object): void {
  Object.setPrototypeOf(prototype, pg.Query.prototype)
}

/**
 * Gives pg a query that can be sent now; false where pg has not taken that very object. Not by `client.query()`:
 * tracing patches that and may pass on a copy, which pg would run as a query of its own, outside of any transaction.
 * This is the end of pg's own `query()`.
 *
 * Ends with: a published way to submit a query past patches, or with diagnostics channels in pg (node-postgres #3619).
 */
export function enqueue(client: DriverClient, query: QueuedQuery): boolean {
  // Where a query brings no parsers of its own, it has the client's.
  if (query._result && !query._result._types) query._result._types = client._types
  client._queryQueue.push(query)
  client._pulseQueryQueue()
  return client._activeQuery === query || client._sentQueryQueue.at(-1) === query
}

/**
 * Gives the texts of the prepared statements that pg knows by name, in an object of ours that pg goes on to use. It has
 * no prototype: a name may be "constructor".
 *
 * Ends with: prepared statements that pg keeps in a Map.
 */
export function shareNamedStatements(connection: DriverConnection): Record<string, string> {
  const shared = Object.assign(Object.create(null) as Record<string, string>, connection.parsedStatements)
  connection.parsedStatements = shared
  connection.submittedNamedStatements = Object.create(null) as Record<string, string>
  return shared
}

/** What pg reads from `pg.defaults` where it was not given, or given as empty. */
const AMONG_DEFAULTS = [
  'application_name',
  'binary',
  'client_encoding',
  'fallback_application_name',
  'idle_in_transaction_session_timeout',
  'lock_timeout',
  'options',
  'query_timeout',
  'replication',
  'statement_timeout',
] as const

/**
 * Puts the plan's startup parameters in the place of what pg took from `pg.defaults` and from variables of its own.
 * Others would pay for those here: at its `query_timeout`, for example, pg destroys the socket with everybody's
 * statements on it. How values are parsed and written (`pg.types`, `parseInputDatesAsUTC`) stays the user's choice.
 *
 * Ends with: a client that takes no defaults (`noDefaults`, discussed in node-postgres #714).
 */
export function forgetDefaults(client: Client, startup: Readonly<Record<string, string>>): void {
  const inner = client as unknown as DriverClient
  inner.binary = false
  inner.replication = undefined
  for (const name of AMONG_DEFAULTS) inner.connectionParameters[name] = startup[name]
  inner.getStartupConf = () => ({ ...startup })
}

/**
 * Nobody asks for the password again, and a client that is printed or inspected might show it.
 *
 * Ends with: a client that keeps no password after the login (node-postgres #1568).
 */
export function forgetPassword(client: Client): void {
  const inner = client as unknown as DriverClient
  inner.password = null
  inner.connectionParameters['password'] = null
}

/**
 * Makes a connected socket fit pg, which calls `connect(port, host)` on its stream and waits for the event. The socket
 * flows from then on.
 *
 * Ends with: sockets that are connected by who makes them (node-postgres #3629).
 */
export function makeConnected(socket: Socket): void {
  const connect = (): Socket => {
    clock.nextTick(() => {
      if (socket.destroyed) return
      socket.emit('connect')
      socket.resume()
    })
    return socket
  }
  Object.defineProperty(socket, 'connect', { value: connect, configurable: true })
}

/**
 * Has what the server sends looked at before pg's parser gets it. That one throws, inside a socket's event, at bytes
 * that are no message and at an authentication method that it does not know; it reads on for ever at others; and it
 * leaves out the untranslated severity of errors. Now such bytes are the end of the connection, with the reason. Emits
 * `rowTooLong` on the connection for a row that is left out.
 *
 * Ends with: a parser that checks and reports what it reads (node-postgres #1048, #3409).
 */
export function guardParser(connection: DriverConnection): void {
  const attach = connection.attachListeners.bind(connection)
  connection.attachListeners = (stream) => {
    attach(
      new Proxy(stream, {
        get: (target, name) =>
          name === 'on'
            ? (event: string, listener: (chunk: Buffer) => void) =>
                target.on(event, event === 'data' ? guard(connection, target, listener) : listener)
            : (Reflect.get(target, name, target) as unknown),
      }),
    )
  }
}

function guard(
  connection: DriverConnection,
  stream: Duplex,
  listener: (chunk: Buffer) => void,
): (chunk: Buffer) => void {
  const framing = new Framing()
  const hooks = { pass: listener, onRowTooLong: (bytes: number) => connection.emit('rowTooLong', bytes) }
  // Before pg's own listener, which comes with connect().
  connection.on('errorMessage', (error: object) => {
    const severity = framing.severities.shift() ?? ''
    if (severity !== '') noteSeverity(error, severity)
  })
  return (chunk) => {
    try {
      framing.read(chunk, hooks)
    } catch (error) {
      stream.destroy(error as Error)
    }
  }
}
