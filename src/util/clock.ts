/**
 * Time, and what runs later, as Node had them when this module was loaded. Test runners replace the global functions by
 * some of their own, for the program that is tested; a connection has to go on by the real ones.
 */
import { AsyncResource } from 'node:async_hooks'
import { performance as monotonic } from 'node:perf_hooks'
import * as timers from 'node:timers'

/** Everything that this library knows of time. Tests of its own put another clock in the place of these functions. */
export const clock = {
  /** Milliseconds, on a clock that only goes forward. It may stand still while the machine is frozen. */
  now: monotonic.now.bind(monotonic),
  /** Milliseconds on the wall clock, which goes on while a machine is frozen, and may be set. */
  wallNow: Date.now,
  setTimeout: timers.setTimeout,
  clearTimeout: timers.clearTimeout,
  /** Runs a function once what lies in the sockets has been read. */
  setImmediate: timers.setImmediate,
  clearImmediate: timers.clearImmediate,
  nextTick: process.nextTick.bind(process),
  queueMicrotask: globalThis.queueMicrotask,
}

/** Milliseconds, on a clock that only goes forward. */
export function now(): number {
  return clock.now()
}

const outside = new AsyncResource('pg-managed-connection')

/** Runs `work` in no caller's async context: what it starts neither keeps a caller's values alive nor hands them on. */
export function inNobodysContext<T>(work: () => T): T {
  return outside.runInAsyncScope(work)
}
