/**
 * What a worker and the owner say to each other. A message is a list of entries, in order; what either side has to
 * say in one tick goes in one message.
 *
 * A worker numbers what it asks for; the owner answers with that number. Exclusivity is the owner's line: `work`
 * starts when its turn is `granted`. Where the turns that are next in line are the same worker's, the owner says so
 * beforehand (`next`), and the worker starts the next one itself, the moment that its present one has left: then
 * COMMIT, release, the next BEGIN and its first statement travel in one message.
 */
import type { FieldDef } from 'pg'
import type { ConnectionFacts } from '../api/manager.js'
import type { FaceOptions } from '../api/ports.js'
import type { Notification } from '../api/subscription.js'
import type { WireError } from './wire-error.js'

/** The first message of a port. */
export interface Hello {
  readonly protocol: typeof PROTOCOL
  /** The owner's figures, see `shared-stats.ts`. */
  readonly stats: SharedArrayBuffer
  /** The connection string, as it is shown. */
  readonly conninfo: string
  readonly facts: ConnectionFacts
  readonly options: FaceOptions
  /** The owner wants to know where leases are asked for. */
  readonly traces: boolean
}

/** Both sides must come from the same version of this package. */
export const PROTOCOL = 'pg-managed-connection/2'

/** What stands for the reason of a signal that aborted in the worker, where the reason itself is. */
export const CANCELLED = 'pg-managed-connection: cancelled by the worker'

/** `wait`: stands in the queue for a lease. `try`: wants one only if it is free. */
export type AskKind = 'wait' | 'try'

export type WireTerms = readonly [autocommit: boolean, begin: string, owned: boolean]

export type WireParameter = string | Uint8Array | null

/** A statement, as the face has read it. */
export type WireStatement = readonly [
  text: string,
  values: readonly WireParameter[] | null,
  name: string | null,
  binary: boolean,
  /** By the extended protocol, whatever the text. */
  extended: boolean,
  timeoutMillis: number,
  /** A `cancel` may come for it. */
  abortable: boolean,
]

/** What left a callback that threw: the words that say whether the server's connection is still good. */
export type Thrown = readonly [code: string, severity: string] | null

/** How a holder leaves. */
export type WireLeft = 'returned' | 'threw'

/** What is said within a lease. Answered by the number `id`, where there is one. */
export type LeaseEntry =
  | readonly ['statement', lease: number, id: number, statement: WireStatement]
  | readonly ['commit' | 'rollback', lease: number, id: number]
  /** A nested transaction begins, under the number `id`. */
  | readonly ['nest', lease: number, id: number]
  /** It ends. `leftNested`: its work has left one of its own open. */
  | readonly ['finish', lease: number, id: number, nested: number, leftNested: boolean]
  | readonly ['abort', lease: number, id: number, nested: number]
  /** The first or the next rows of a stream; the statement comes with the first. */
  | readonly [
      'rows',
      lease: number,
      id: number,
      stream: number,
      opening: readonly [statement: WireStatement, batchSize: number] | null,
    ]
  | readonly ['drop', lease: number, id: number, stream: number]
  /** The worker has started the lease, which it was told is next. */
  | readonly ['begun', lease: number]
  | readonly ['autocommit', lease: number, autocommit: boolean]
  | readonly ['leave', lease: number, left: WireLeft, thrown: Thrown, close: boolean]

export type ToOwner =
  | readonly [
      'ask',
      lease: number,
      kind: AskKind,
      terms: WireTerms,
      timeoutMillis: number,
      stack: string | null,
    ]
  /** Nobody waits for the lease any more. */
  | readonly ['withdraw', lease: number]
  /** The answer to `late`: it waits, and its time has passed. */
  | readonly ['expired', lease: number]
  | LeaseEntry
  | readonly ['query', id: number, statement: WireStatement, timeoutMillis: number]
  | readonly [
      'batch',
      id: number,
      statements: readonly WireStatement[],
      begin: string | null,
      timeoutMillis: number,
      abortable: boolean,
    ]
  | readonly ['listen', id: number, channel: string, maxBuffered: number, timeoutMillis: number]
  | readonly ['cancel', id: number]
  /** So many notifications have arrived. */
  | readonly ['heard', subscription: number, count: number]
  | readonly ['unlisten', subscription: number]
  | readonly ['close', id: number]
  /** The figures are wanted as they are now. */
  | readonly ['look']

export type ToWorker =
  | readonly ['granted', lease: number]
  /** These leases are next in line, in this order. */
  | readonly ['next', leases: readonly number[]]
  /** The time of a lease that was said to be next has passed: has it been started? */
  | readonly ['late', lease: number]
  /** Something was done. */
  | readonly ['done', id: number]
  | readonly ['failed', id: number, error: WireError]
  /** The lease is settled, and its caller gets what its callback returned or threw. */
  | readonly ['settled', lease: number, retrySafe: boolean]
  /** The lease's session is in another state. */
  | readonly ['state', lease: number, status: string]
  | readonly ['answer', id: number, answer: WireAnswer]
  | readonly ['rows', id: number, rows: WireRows]
  | readonly ['heard', subscription: number, notifications: readonly Notification[]]
  | readonly ['unlistened', subscription: number, error: WireError | null]
  /** The port is about to be closed, and why. */
  | readonly ['bye', why: string]

/** One result, or those of several statements. */
export type WireAnswer = WireResult | readonly WireResult[]

/** A cell as the server sent it: the worker parses. */
export type WireCell = string | null

/** A result: its cells in one flat list, row by row. */
export type WireResult = readonly [
  command: string,
  rowCount: number | null,
  oid: number,
  shape: WireShape,
  rows: number,
  cells: readonly WireCell[],
]

/** The description of the columns: in full, or by the number under which it was sent before. */
export type WireShape = number | readonly [slot: number, fields: readonly FieldDef[]]

/** Some rows of a stream. */
export interface WireRows {
  readonly rows: readonly (readonly WireCell[])[]
  readonly fields: readonly FieldDef[]
}
