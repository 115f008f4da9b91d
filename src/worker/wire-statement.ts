/** Statements on their way between threads. */
import type { CommitTerms } from '../api/ports.js'
import type { CustomTypesConfig } from 'pg'
import type { StatementCall } from '../api/statement.js'
import type { ClassifiedTexts } from '../sql/classify.js'
import type { TurnSettings } from '../sql/turn-settings.js'
import type { WireStatement } from './protocol.js'

/** Leaves every text as it is: the worker parses, and knows the types from the columns' description. */
const UNPARSED: CustomTypesConfig = {
  getTypeParser: (() => (text: unknown) => text) as CustomTypesConfig['getTypeParser'],
}

export function encodeCall({ statement, limits, extended }: StatementCall): WireStatement {
  const { text, values, name, binary } = statement
  const parameters = values.length === 0 ? null : values.map(toParameter)
  const abortable = limits.signal !== undefined
  return [text, parameters, name ?? null, binary, extended, limits.timeoutMillis, abortable]
}

/** The bytes and no more: a small Buffer is a part of a larger piece of memory, all of which would be copied. */
function toParameter(value: string | Buffer | null): string | Uint8Array | null {
  if (value === null || typeof value === 'string') return value
  return value.byteLength === value.buffer.byteLength ? value : new Uint8Array(value)
}

/** Rows come as arrays of unparsed cells, whatever the worker makes of them. */
export function decodeCall(
  [text, parameters, name, binary, extended, timeoutMillis]: WireStatement,
  texts: ClassifiedTexts,
  signal: AbortSignal | undefined,
  settings: WireSettings = null,
): StatementCall {
  const classified = texts.get(text)
  const values = (parameters ?? []).map((value) => (value instanceof Uint8Array ? asBuffer(value) : value))
  const { harmless, mayUnlisten } = classified
  const preparable = classified.preparable && name === null && !binary
  const statement = { text, values, name: name ?? undefined, binary, preparable, harmless, mayUnlisten }
  return {
    statement: { ...statement, rowMode: 'array', types: UNPARSED },
    text: classified,
    limits: { timeoutMillis, signal },
    extended,
    label: null,
    settings: decodeSettings(settings),
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** What is set for a transaction, as it is said between threads. */
export type WireSettings =
  readonly [values: readonly (readonly [name: string, value: string])[], role: string | null] | null

export function encodeSettings(settings: TurnSettings | null): WireSettings {
  return settings === null ? null : [settings.values, settings.role]
}

export function decodeSettings(wire: WireSettings): TurnSettings | null {
  return wire === null ? null : { values: wire[0], role: wire[1] }
}

/** How a transaction is committed, as it is said between threads. */
export function encodeCommitment(terms: CommitTerms | null): readonly [boolean, boolean | string] | null {
  if (terms === null) return null
  const { group, verify } = terms
  return [group, typeof verify === 'object' ? verify.table : verify]
}

export function decodeCommitment(
  wire: readonly [group: boolean, verify: boolean | string] | null,
): CommitTerms | null {
  if (wire === null) return null
  const [group, verify] = wire
  return { group, verify: typeof verify === 'string' ? { table: verify } : verify }
}
