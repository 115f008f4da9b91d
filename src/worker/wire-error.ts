/**
 * What is thrown, on its way between threads. An error arrives as an instance of the same class, with the same
 * message, fields and causes: the classes of this package, pg's DatabaseError, and the language's own. An error of any
 * other class arrives as an Error with that class's name.
 */
import * as classes from '../errors.js'
import { foldAway } from '../errors/connect-story.js'
import { describeThrown } from '../util/thrown.js'
import { DatabaseError } from '../pg/driver.js'

export type WireThrown =
  { readonly plain: unknown } | { readonly list: readonly WireThrown[] } | { readonly error: WireError }

interface WireError {
  readonly className: string
  readonly message: string
  readonly stack?: string | undefined
  readonly fields: readonly (readonly [name: string, value: WireThrown])[]
}

/** A cause of a cause… and so on is told so far. */
const DEEPEST = 8

/** Some class of the program's own. */
const OTHER = 'other'

const NATIVE = {
  Error,
  AggregateError,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
}

const PROTOTYPES: ReadonlyMap<string, unknown> = new Map(
  Object.entries({ ...classes, ...NATIVE, DatabaseError }).map(([name, { prototype }]) => [name, prototype]),
)
const NAMES: ReadonlyMap<unknown, string> = new Map(
  [...PROTOTYPES].map(([name, prototype]) => [prototype, name]),
)

export function encodeThrown(thrown: unknown, depth = 0): WireThrown {
  if (depth > DEEPEST) return { plain: undefined }
  try {
    if (thrown instanceof Error) return { error: encodeError(thrown, depth) }
    if (Array.isArray(thrown) && thrown.some((one) => one instanceof Error)) {
      return { list: thrown.map((one) => encodeThrown(one, depth)) }
    }
    return { plain: copyable(thrown) }
  } catch {
    // A revoked Proxy, a getter that throws: nobody can look at it, on this side or on the other.
    return { error: { className: 'Error', message: describeThrown(thrown), fields: [] } }
  }
}

function encodeError(error: Error, depth: number): WireError {
  const known = NAMES.get(Object.getPrototypeOf(error))
  const className = error instanceof DatabaseError ? 'DatabaseError' : (known ?? OTHER)
  const names = Object.getOwnPropertyNames(error).filter((name) => name !== 'message' && name !== 'stack')
  if (className === OTHER && !names.includes('name')) names.push('name')
  const fields = names.map((name) => {
    const value: unknown = (error as unknown as Record<string, unknown>)[name]
    return [name, encodeThrown(value, depth + 1)] as const
  })
  return { className, message: error.message, stack: error.stack, fields }
}

/** The value, or where it cannot be copied, its text. */
function copyable(value: unknown): unknown {
  if (value === undefined || typeof value === 'string') return value
  try {
    return structuredClone(value)
  } catch {
    return describeThrown(value)
  }
}

/** Makes the error, or whatever was thrown. */
export function decodeThrown(thrown: WireThrown): unknown {
  if ('plain' in thrown) return thrown.plain
  return 'error' in thrown ? decodeError(thrown.error) : thrown.list.map(decodeThrown)
}

function decodeError({ className, message, stack, fields }: WireError): Error {
  // A real error, whatever its class: its constructor's arguments are not known here.
  const error = new Error(message)
  Object.setPrototypeOf(error, (PROTOTYPES.get(className) ?? Error.prototype) as object)
  for (const [name, value] of fields) {
    const enumerable = name !== 'cause' && name !== 'errors' && name !== 'name'
    Object.defineProperty(error, name, {
      value: decodeThrown(value),
      enumerable: enumerable || (name === 'errors' && className !== 'AggregateError'),
      configurable: true,
      writable: true,
    })
  }
  if (className === 'DatabaseError') Object.defineProperty(error, 'name', { enumerable: true })
  if (stack !== undefined) error.stack = stack
  if (error instanceof classes.ConnectError) foldAway(error)
  return error
}
