/**
 * What this library uses of pg beyond its published types, in one place: each is part of pg's behaviour since
 * 8.23, and the tests fail when one of them changes.
 */
import { pg } from './pg.js'
import textParsers from 'pg-types/lib/textParsers.js'
import type { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import type { Client, CustomTypesConfig, FieldDef, QueryResult } from 'pg'

/** pg's client with what lies behind its types. */
export interface DriverClient extends Omit<Client, 'connection' | 'pipeline' | 'password'> {
  readonly connection: DriverConnection
  pipeline: boolean
  readonly processID: number | null
  readonly secretKey: number | null
  password: unknown
  readonly connectionParameters: Record<string, unknown>
  binary: boolean
  replication: unknown
  getStartupConf(): Record<string, string>
  readonly _types: CustomTypesConfig
  /** False once the connection has failed or the server has said its last word: pg sends nothing any more. */
  readonly _queryable: boolean
  /** What is to be sent; pg takes it from here when it may go. */
  readonly _queryQueue: QueuedQuery[]
  /** Pipelined, sent, and behind the one that the server answers. */
  readonly _sentQueryQueue: readonly QueuedQuery[]
  /** The one that the server answers. */
  readonly _activeQuery: QueuedQuery | null | undefined
  _pulseQueryQueue(): void
}

export interface QueuedQuery {
  submit(connection: DriverConnection): unknown
  readonly _result?: { _types?: CustomTypesConfig | undefined } | null | undefined
}

/** pg's protocol connection: emits each backend message under its name. */
export interface DriverConnection extends EventEmitter {
  readonly stream: Duplex
  parsedStatements: Record<string, string>
  submittedNamedStatements: Record<string, string>
  sendCopyFail(message: string): void
  attachListeners(stream: Duplex): void
}

/** What pg emits for a setting that has another value now, by whatever way it got it. */
export interface ParameterStatus {
  readonly parameterName: string
  readonly parameterValue: string
}

/** pg's result while it is being built. */
export interface DriverResult extends QueryResult {
  _parsers: ((value: string) => unknown)[] | undefined
  _types: CustomTypesConfig
  _prebuiltEmptyResultObject: Record<string, null> | null
  addFields(fields: FieldDef[]): void
  addCommandComplete(message: { text: string }): void
  parseRow(values: (string | null)[]): Record<string, unknown>
}

interface DriverInternals {
  Result: new (rowMode: string | undefined, types: CustomTypesConfig) => DriverResult
  utils: { prepareValue(value: unknown): unknown }
}

const { Result, utils } = pg as unknown as DriverInternals

export function createResult(rowMode: string | undefined, types: CustomTypesConfig): DriverResult {
  return new Result(rowMode, types)
}

/** pg's conversion of a value that a user gave into what travels. Throws what the value's own conversion throws. */
export const prepareValue = utils.prepareValue

/** The same client, seen with what pg's types leave out. */
export function internals(client: Client): DriverClient {
  return client as unknown as DriverClient
}

/** pg's parsers of this thread, custom ones of `pg.types.setTypeParser` included. */
export const threadTypes: CustomTypesConfig = pg.types

export const DatabaseError = pg.DatabaseError
export const escapeIdentifier = pg.escapeIdentifier
export const escapeLiteral = pg.escapeLiteral

/** pg's own parser of a type's text, whatever the user has set in its place. */
export function builtInParser(wanted: number): (text: string) => unknown {
  let found: ((text: string) => unknown) | undefined
  textParsers.init((oid, parser) => {
    if (oid === wanted) found = parser
  })
  return found ?? String
}
