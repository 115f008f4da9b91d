/** What `query()` was called with, made ready to travel. */
import { clock } from '../../util/clock.js'
import { readValues } from '../../face/query-values.js'
import { checkSignal } from '../../util/abort-signals.js'
import { ownBytes } from '../cloneable.js'
import type { CustomTypesConfig } from 'pg'
import type { QueryCallback } from '../../index.js'
import type { WireOptions, WireParameter, WireStatement } from '../protocol.js'
import type { RowWish } from './result-decoder.js'

/** A statement that can be sent. */
export interface PreparedCall {
  readonly wire: WireStatement
  readonly wish: RowWish
  readonly signal: AbortSignal | undefined
}

/** The members of a config that go along; the owner's side checks them. */
const MORE = ['name', 'queryMode', 'binary', 'timeoutMillis', 'query_timeout'] as const
const STREAM_MORE = ['rowMode', 'batchSize', 'timeoutMillis'] as const

type Given = Readonly<Record<string, unknown>>

/** Reads a call. Throws what is wrong with it, or what a value's own conversion throws. */
export function readCall(config: unknown, values: unknown, types: CustomTypesConfig | null): PreparedCall {
  if (config == null) throw new TypeError('Client was passed a null or undefined query')
  if (typeof config === 'string') return createCall({}, config, listOf(values), null, types)
  const given = config as Given
  const list = typeof values === 'function' || values == null ? given['values'] : values
  return createCall(given, given['text'], listOf(list), pick(given, MORE), types)
}

/** Reads the arguments of `stream()`. */
export function readStreamCall(
  text: unknown,
  values: unknown,
  options: Given,
  types: CustomTypesConfig | null,
): PreparedCall {
  return createCall(options, text, listOf(values), pick(options, STREAM_MORE), types)
}

function createCall(
  given: Given,
  text: unknown,
  values: WireParameter[] | null,
  more: WireOptions | null,
  defaultTypes: CustomTypesConfig | null,
): PreparedCall {
  const types = (given['types'] as CustomTypesConfig | null | undefined) ?? defaultTypes
  const signal = readSignal(given['signal'])
  return {
    wire: [typeof text === 'string' ? text : null, values, types !== null, more, signal !== undefined],
    wish: { asArrays: given['rowMode'] === 'array', types },
    signal,
  }
}

function listOf(values: unknown): WireParameter[] | null {
  if (values == null || typeof values === 'function') return null
  const list = readValues(values)
  return list.length === 0 ? null : list.map(toParameter)
}

/** A copy travels, and not the larger piece of memory that the bytes are a part of. */
function toParameter(value: string | Buffer | null): WireParameter {
  if (value === null || typeof value !== 'object') return value
  return value.byteLength === 0 ? new Uint8Array(0) : ownBytes(value)
}

/** A signal that is null is one that was not given, as libraries pass it. */
export function readSignal(signal: unknown): AbortSignal | undefined {
  if (signal == null) return undefined
  checkSignal(signal)
  return signal as AbortSignal
}

/** Those of the members that were given; null for none. */
export function pick(given: Given, names: readonly string[]): WireOptions | null {
  let picked: Record<string, unknown> | null = null
  for (const name of names) {
    const value = given[name]
    if (value === undefined) continue
    picked ??= {}
    picked[name] = plain(value)
  }
  return picked
}

/** What is no plain value is wrong wherever it is given, and the owner's side says so; it must get there. */
function plain(value: unknown): unknown {
  const kind = typeof value
  return value === null || (kind !== 'object' && kind !== 'function' && kind !== 'symbol')
    ? value
    : String(value)
}

export function isSubmittable(config: unknown): boolean {
  return typeof (config as { submit?: unknown } | null)?.submit === 'function'
}

export function submittableError(): TypeError {
  return new TypeError(
    'a submittable (pg-cursor, pg-query-stream, pg-copy-streams) speaks to the connection itself and cannot cross ' +
      'threads; use stream() for rows, or hand it to query() in the thread that owns the connection',
  )
}

/** Where a callback stands among pg's arguments; undefined where a promise is wanted. */
export function callbackOf(config: unknown, values: unknown, callback: unknown): QueryCallback | undefined {
  const given =
    typeof values === 'function' ? values : (callback ?? (config as { callback?: unknown } | null)?.callback)
  if (given === undefined) return undefined
  if (typeof given !== 'function') throw new TypeError('callback is not a function')
  return given as QueryCallback
}

/** Answers in pg's manner: by the callback where there is one. */
export function answerBy(
  callback: QueryCallback | undefined,
  answered: Promise<unknown>,
): Promise<unknown> | undefined {
  if (callback === undefined) return answered
  const listener = callback as (error: unknown, result: unknown) => void
  answered.then(
    (result) => clock.nextTick(listener, null, result),
    (error: unknown) => clock.nextTick(listener, error, undefined),
  )
  return undefined
}
