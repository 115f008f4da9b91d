/**
 * Errors on their way between threads. What arrives is an instance of the same class, with the same message, fields
 * and causes: the classes of this package, pg's DatabaseError, and the language's own. An error of any other class
 * arrives as an Error with that class's name.
 */
import * as classes from '../errors.js'
import { describeThrown } from '../util/thrown.js'
import { DatabaseError } from '../pg/driver.js'

export interface WireError {
  /** The name of its class; null for something thrown that is no error. */
  readonly className: string | null
  /** What was thrown, where it is no error. */
  readonly value?: unknown
  readonly message: string
  readonly stack: string | undefined
  readonly fields: readonly (readonly [name: string, field: WireField])[]
}

type WireField =
  { readonly plain: unknown } | { readonly error: WireError } | { readonly errors: readonly WireError[] }

/** A cause of a cause… and so on is told so far. */
const DEEPEST = 8

const OWN_CLASSES = classes as unknown as Readonly<Record<string, new (...args: never[]) => Error>>

/** Some class of the program's own. */
const OTHER = 'other'

const NATIVE_CLASSES: Readonly<Record<string, { readonly prototype: Error }>> = {
  Error,
  AggregateError,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
}

export function encodeError(error: unknown, depth = 0): WireError {
  try {
    return encodeThrown(error, depth)
  } catch {
    // A revoked Proxy, a getter that throws: nobody can look at it, on this side or on the other.
    return { className: 'Error', message: describeThrown(error), stack: undefined, fields: [] }
  }
}

function encodeThrown(error: unknown, depth: number): WireError {
  if (!(error instanceof Error)) {
    return { className: null, value: copyable(error), message: '', stack: undefined, fields: [] }
  }
  const names = Object.getOwnPropertyNames(error).filter((name) => name !== 'message' && name !== 'stack')
  const className = classNameOf(error)
  const fields = names.map((name) => {
    const value: unknown = (error as unknown as Record<string, unknown>)[name]
    return [name, encodeField(value, depth + 1)] as const
  })
  if (className === OTHER && !names.includes('name')) fields.push(['name', { plain: error.name }])
  return { className, message: error.message, stack: error.stack, fields }
}

function classNameOf(error: Error): string {
  if (error instanceof DatabaseError) return 'DatabaseError'
  const { name } = error
  return OWN_CLASSES[name]?.prototype === Object.getPrototypeOf(error) ? name : nativeName(error)
}

function nativeName(error: Error): string {
  const { name } = error.constructor
  return NATIVE_CLASSES[name]?.prototype === Object.getPrototypeOf(error) ? name : OTHER
}

function encodeField(value: unknown, depth: number): WireField {
  if (depth > DEEPEST) return { plain: undefined }
  if (value instanceof Error) return { error: encodeError(value, depth) }
  if (Array.isArray(value) && value.some((one) => one instanceof Error)) {
    return { errors: value.map((one) => encodeError(one, depth)) }
  }
  return { plain: copyable(value) }
}

/** The value, or where it cannot be copied, its text. */
function copyable(value: unknown): unknown {
  if (
    value === null ||
    (typeof value !== 'object' && typeof value !== 'function' && typeof value !== 'symbol')
  )
    return value
  try {
    return structuredClone(value)
  } catch {
    return textOf(value)
  }
}

function textOf(value: unknown): string {
  try {
    return String(value)
  } catch {
    return Object.prototype.toString.call(value)
  }
}

/** Makes the error, or whatever was thrown. */
export function decodeError(wire: WireError): unknown {
  const { className, message, stack, fields } = wire
  if (className === null) return wire.value
  // A real error, whatever its class: its constructor's arguments are not known here.
  const error = new Error(message)
  Object.setPrototypeOf(error, prototypeOf(className))
  for (const [name, field] of fields) {
    const enumerable = name !== 'cause' && name !== 'errors' && name !== 'name'
    Object.defineProperty(error, name, {
      value: decodeField(field),
      enumerable: enumerable || (name === 'errors' && className !== 'AggregateError'),
      configurable: true,
      writable: true,
    })
  }
  if (className === 'DatabaseError') Object.defineProperty(error, 'name', { enumerable: true })
  if (stack !== undefined) error.stack = stack
  return error
}

function prototypeOf(className: string): object {
  if (className === 'DatabaseError') return DatabaseError.prototype
  return (OWN_CLASSES[className] ?? NATIVE_CLASSES[className] ?? Error).prototype
}

function decodeField(field: WireField): unknown {
  if ('plain' in field) return field.plain
  return 'error' in field ? decodeError(field.error) : field.errors.map((one) => decodeError(one))
}
