/** Reads what `query()` was called with, in pg's many forms, as one shape. */
import type { CustomTypesConfig } from 'pg'
import { TransactionOrderError } from '../errors.js'
import { checkMillis } from '../options.js'
import { checkSignal } from '../util/abort-signals.js'
import { readSettings, type GivenSettings } from '../sql/turn-settings.js'
import { checkTextSize, readValues } from './read-values.js'
import type { DriverSubmittable } from '../api/ports.js'
import type { Statement, StatementCall, StatementLimits } from '../api/statement.js'
import type { ClassifiedTexts } from '../sql/classify.js'

export function isSubmittable(config: unknown): config is DriverSubmittable {
  return typeof (config as { submit?: unknown } | null)?.submit === 'function'
}

export interface CallDefaults {
  readonly texts: ClassifiedTexts
  readonly timeoutMillis: number
  /** Parses the cells of statements that bring no parsers of their own. */
  readonly types?: CustomTypesConfig | undefined
}

/** Reads a call. Throws what is wrong with it: nothing has been sent then. */
export function readCall(config: unknown, values: unknown, defaults: CallDefaults): StatementCall {
  const given = readConfig(config)
  const list = typeof values === 'function' || values == null ? given.values : values
  const wireValues = readValues(list)
  const text = readText(given)
  const classified = defaults.texts.get(text)
  return {
    statement: {
      text,
      values: wireValues,
      name: readName(given),
      rowMode: given.rowMode as string | undefined,
      types: (given.types as Statement['types'] | null) ?? defaults.types,
      binary: given.binary === true,
      preparable: classified.preparable && given.name == null && given.binary !== true,
      harmless: classified.harmless,
      mayUnlisten: classified.mayUnlisten,
    },
    text: classified,
    limits: readLimits(given, defaults.timeoutMillis),
    label: readLabel(given),
    settings: readSettings(given as GivenSettings),
    extended: given.queryMode === 'extended' || given.name != null || wireValues.length > 0,
  }
}

/** What a statement may have of its own, `query_timeout` being pg's. */
const OWN_LIMITS = ['signal', 'timeoutMillis', 'query_timeout', 'settings', 'role'] as const

/**
 * Reads one statement of a batch.
 *
 * @throws TypeError, RangeError or `TransactionOrderError` for what cannot be part of one transaction in one round trip
 */
export function readBatched(statement: unknown, index: number, defaults: CallDefaults): StatementCall {
  const name = `statement ${index} of the batch`
  if (isSubmittable(statement)) throw new TypeError(`${name} is a submittable`)
  const call = readCall(statement, undefined, defaults)
  const own = OWN_LIMITS.find((limit) => readConfig(statement)[limit] !== undefined)
  if (own !== undefined) {
    throw new TypeError(
      `${name} has ${own} of its own; a batch is one: give it to the batch, or set statementTimeoutMillis`,
    )
  }
  if (call.text.controls) {
    throw new TransactionOrderError(`${name} is transaction control; a batch is one transaction`)
  }
  if (call.text.kind === 'copy') throw new TypeError(`${name} is COPY, which needs a stream`)
  return call
}

/** The same call with another text, which an instrument has made of it. */
export function withText(call: StatementCall, text: string, texts: ClassifiedTexts): StatementCall {
  const { statement } = call
  if (text === statement.text) return call
  const classified = texts.get(noNul(text, 'text'))
  const preparable = statement.preparable && classified.kind === 'plain'
  return { ...call, text: classified, statement: { ...statement, text, preparable } }
}

function readConfig(config: unknown): Record<string, unknown> {
  if (config == null) throw new TypeError('Client was passed a null or undefined query')
  if (Array.isArray(config) && 'raw' in config) {
    throw new TypeError(
      'query is no tag for templates: call it as query(text, values), with $1, $2, … in the text',
    )
  }
  return typeof config === 'string' ? { text: config } : (config as Record<string, unknown>)
}

function readText({ text, name }: Record<string, unknown>): string {
  if (typeof text !== 'string' && typeof name !== 'string') {
    throw new TypeError('A query must have either text or a name. Supplying neither is unsupported.')
  }
  if (typeof text !== 'string') return ''
  checkTextSize(text)
  return noNul(text, 'text')
}

function readLabel({ label }: Record<string, unknown>): string | null {
  if (label === undefined) return null
  if (typeof label !== 'string') throw new TypeError(`label must be a string, but is ${String(label)}`)
  return label
}

function readName({ name }: Record<string, unknown>): string | undefined {
  return name == null || name === '' ? undefined : noNul(String(name), 'name')
}

/** The protocol ends its strings with NUL: what follows one would be read as something else. */
function noNul(value: string, what: string): string {
  if (value.includes('\0')) throw new TypeError(`the ${what} of a query must not contain the character NUL`)
  return value
}

const NO_LIMITS: StatementLimits = { timeoutMillis: 0, signal: undefined }

/** Reads a statement's limits. Throws what is wrong with them. */
function readLimits(given: Record<string, unknown>, defaultMillis: number): StatementLimits {
  // pg's own name for a statement's limit, which pg enforces by destroying the connection.
  const timeoutMillis = given.timeoutMillis ?? given.query_timeout ?? defaultMillis
  const signal = (given.signal ?? undefined) as AbortSignal | undefined
  if (timeoutMillis === 0 && signal === undefined) return NO_LIMITS
  checkMillis('timeoutMillis', timeoutMillis)
  if (signal !== undefined) checkSignal(signal)
  return { timeoutMillis: timeoutMillis as number, signal }
}
