/** What the pool face uses of pg itself, and what libraries that were written for pg ask of its classes and errors. */
import { EventEmitter } from 'node:events'
import { ConnectError, ConnectionLostError, ManagedConnectionError } from '../errors.js'
import { UncommittedTransactionError } from '../errors.js'
import { pg } from '../pg/pg.js'

/** What all clients of a pool have in common. */
export class ClientShape extends EventEmitter {
  escapeIdentifier(name: string): string {
    return pg.escapeIdentifier(name)
  }

  escapeLiteral(text: string): string {
    return pg.escapeLiteral(text)
  }
}

/**
 * Makes a class one of pg's pools for `instanceof`, without pg's machinery. What it would inherit works on lists of
 * clients that it does not have, so each of those methods says so instead.
 */
export function inheritFromPg(face: { readonly prototype: object }): void {
  for (const name of machineryOfPg()) {
    if (name in face.prototype) continue
    const value = (): never => {
      throw new Error(`${name}() is the machinery of pg's own pool; a pool of one shared connection has none`)
    }
    Object.defineProperty(face.prototype, name, { value, configurable: true, writable: true })
  }
  Object.setPrototypeOf(face.prototype, pg.Pool.prototype)
}

/** The methods of pg's pool, which lie on its prototype and on the one behind it. */
function machineryOfPg(): string[] {
  const names: string[] = []
  let prototype: object = pg.Pool.prototype
  while (prototype !== EventEmitter.prototype && prototype !== Object.prototype) {
    names.push(...Object.getOwnPropertyNames(prototype))
    prototype = Object.getPrototypeOf(prototype) as object
  }
  return names
}

/** Of the server's errors, and of those of the system's calls. */
const MEMBERS_OF_PG = [
  ...['code', 'severity', 'detail', 'hint', 'where', 'schema', 'table', 'column', 'dataType', 'constraint'],
  ...['file', 'line', 'routine', 'errno', 'syscall', 'address', 'port'],
]

/**
 * The error that a pool's caller gets. It stays what it is; where the connection was the reason it has the members of
 * what the server or the network said, as pg's error would be that.
 */
export function asInPg(error: unknown): unknown {
  // A failing "BEGIN; …; COMMIT" in one text: pg gives the statement's own error.
  if (error instanceof UncommittedTransactionError) return error.cause ?? error
  if (error instanceof ConnectError || error instanceof ConnectionLostError) addMembers(error)
  return error
}

function addMembers(error: Error): void {
  const origin = originOf(error.cause)
  for (const name of MEMBERS_OF_PG) {
    const value = origin?.[name]
    if (value === undefined) continue
    Object.defineProperty(error, name, { value, enumerable: true, configurable: true, writable: true })
  }
}

/** What the server or the system said: the innermost of the causes that has a code which is not of ours. */
function originOf(cause: unknown): Record<string, unknown> | null {
  let found: Record<string, unknown> | null = null
  for (let error = cause; error instanceof Error; error = error.cause) {
    const members = error as unknown as Record<string, unknown>
    if (typeof members.code === 'string' && !(error instanceof ManagedConnectionError)) found = members
  }
  return found
}

/** A copy of what was lost with an idle connection, with the client as pg gives it: others have the error, too. */
export function withClient(error: Error, client: object): Error {
  const copy = Object.setPrototypeOf(
    new Error(error.message),
    Object.getPrototypeOf(error) as object,
  ) as Error
  Object.defineProperties(copy, Object.getOwnPropertyDescriptors(error))
  return Object.assign(copy, { client })
}
