/** What the tests of the core have in common: catching errors and gates. */
import assert from 'node:assert/strict'
import { currentFace } from './face.js'
import { within } from './wait.js'

/** A class of errors, whatever its constructor takes. */
type ErrorClass<E> = abstract new (...args: never[]) => E

/** What the promise rejects with, which must be of the class; fails when it resolves or does not settle in time. */
export async function caught<E>(promise: PromiseLike<unknown>, type: ErrorClass<E>): Promise<E> {
  const error = await reason(promise)
  assert.ok(error instanceof type, `expected ${type.name}, but got: ${String(error)}`)
  return error
}

/** What the promise rejects with, whatever that is. */
export async function reason(promise: PromiseLike<unknown>): Promise<unknown> {
  let value: unknown
  try {
    value = await within(promise, 'the promise to reject')
  } catch (error) {
    return error
  }
  return assert.fail(`expected a rejection, but it resolved with ${String(value)}`)
}

/** How the promise settles; never rejects, so that it may be awaited late. */
export async function outcome<T>(promise: PromiseLike<T>): Promise<PromiseSettledResult<T>> {
  const [settled] = await Promise.allSettled([promise])
  return settled!
}

/** What a settled promise rejected with; undefined when it did not. */
export function errorOf(settled: PromiseSettledResult<unknown>): unknown {
  return settled.status === 'rejected' ? (settled.reason as unknown) : undefined
}

/** That it is this very error; between threads, where errors are copied, one that tells the same. */
export function assertSame(actual: unknown, expected: unknown): void {
  if (currentFace()?.has('own thread') === false) assert.deepEqual(actual, expected)
  else assert.equal(actual, expected)
}

/** A promise that is settled by hand. */
export interface Gate {
  readonly opened: Promise<void>
  open(): void
}

/** Makes a gate: `await gate.opened` waits for `gate.open()`. */
export function createGate(): Gate {
  let open!: () => void
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open }
}

/** Lets everything run that is ready to. */
export async function settle(turns = 5): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
}
