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
import type { ManagedConnection, Notification } from '../index.js'
import type { WireError } from './wire-error.js'

/** The first message of a port. */
export interface Hello {
  readonly protocol: typeof PROTOCOL
  /** The owner's figures, see `board.ts`. */
  readonly board: SharedArrayBuffer
  /** The connection string, as it is shown. */
  readonly conninfo: string
  /** Whom it is connected to, or will be, and its own limits, as a pool tells them. */
  readonly facts: ManagedConnection['facts']
  /** The owner's option `autocommit`. */
  readonly autocommit: boolean
  /** The owner wants to know where turns are asked for. */
  readonly traces: boolean
}

/** Both sides must come from the same version of this package. */
export const PROTOCOL = 'pg-managed-connection/1'

/** What stands for the reason of a signal that aborted in the worker, where the reason itself is. */
export const CANCELLED = 'pg-managed-connection: cancelled by the worker'

export const TURN_KINDS = ['use', 'transaction', 'acquire', 'try'] as const

export type TurnKind = (typeof TURN_KINDS)[number]

/** The options of a call, as far as they concern the owner. */
export type WireOptions = Readonly<Record<string, unknown>>

export type WireParameter = string | Uint8Array | null

/** A statement as it was asked for. */
export type WireStatement = readonly [
  text: unknown,
  values: readonly WireParameter[] | null,
  /** Its result is parsed by the worker. */
  raw: boolean,
  /** The less common members of the config. */
  more: WireOptions | null,
  /** A `cancel` may come for it. */
  abortable: boolean,
]

/** What came out of a callback that threw: the words that say whether the server's connection is still good. */
export type Thrown = readonly [code: string, severity: string] | null

/** How a holder leaves. */
export type WireLeaving = 'returned' | 'threw'

/** What is said within a turn. All but the last three are answered by the number `id`. */
export type TurnEntry =
  | readonly ['statement', turn: number, handle: number, id: number, statement: WireStatement]
  | readonly ['commit' | 'rollback', turn: number, handle: number, id: number]
  /** A nested transaction begins; its number is that of its handle. */
  | readonly ['nest', turn: number, handle: number, id: number]
  | readonly ['unnest', turn: number, nested: number, id: number, left: WireLeaving, thrown: Thrown]
  /** The first or the next rows of a stream; the statement comes with the first. */
  | readonly [
      'rows',
      turn: number,
      stream: number,
      id: number,
      opening: readonly [number, WireStatement] | null,
    ]
  | readonly ['drop', turn: number, stream: number, id: number]
  /** The worker has started the turn, which it was told is next. */
  | readonly ['begun', turn: number]
  | readonly ['autocommit', turn: number, handle: number, autocommit: boolean]
  | readonly ['leave', turn: number, left: WireLeaving, thrown: Thrown]

export type ToOwner =
  | readonly ['ask', turn: number, kind: TurnKind, options: WireOptions | null, stack: string | null]
  /** Nobody waits for the turn any more. */
  | readonly ['withdraw', turn: number]
  /** The answer to `late`: it waits, and its time has passed. */
  | readonly ['expired', turn: number]
  | TurnEntry
  | readonly ['query', id: number, statement: WireStatement]
  | readonly [
      'batch',
      id: number,
      statements: readonly WireStatement[],
      options: WireOptions | null,
      abortable: boolean,
    ]
  | readonly ['listen', id: number, channel: string, options: WireOptions | null]
  | readonly ['cancel', id: number]
  /** So many notifications have arrived. */
  | readonly ['heard', subscription: number, count: number]
  | readonly ['unlisten', subscription: number]
  | readonly ['close', id: number]
  /** The figures are wanted as they are now. */
  | readonly ['look']

export type ToWorker =
  | readonly ['granted', turn: number]
  /** These turns are next in line, in this order. */
  | readonly ['next', turns: readonly number[]]
  /** The time of a turn that was said to be next has passed: has it been started? */
  | readonly ['late', turn: number]
  /** Something was done; a turn: its settlement. */
  | readonly ['done', id: number]
  | readonly ['failed', id: number, error: WireError]
  /** The caller gets what its own callback threw. */
  | readonly ['own', id: number, mayHaveCommitted: boolean]
  /** The turn's session is in another state. */
  | readonly ['state', turn: number, status: string]
  | readonly ['answer', id: number, answer: WireAnswer]
  | readonly ['rows', id: number, rows: WireRows]
  | readonly ['heard', subscription: number, notifications: readonly Notification[]]
  | readonly ['unlistened', subscription: number, error: WireError | null]
  /** The port is about to be closed, and why. */
  | readonly ['bye', why: string]

/** One result, or those of several statements. */
export type WireAnswer = WireResult | readonly WireResult[]

/** A result: its cells in one flat list, row by row. */
export type WireResult = readonly [
  command: string,
  rowCount: number | null,
  oid: number,
  shape: WireShape,
  rows: number,
  cells: unknown[],
  /** Bytes are among the cells, which arrive as Uint8Array. */
  bytes: boolean,
  odd: readonly RawCell[] | null,
]

/** The description of the columns: in full, or by the number under which it was sent before. */
export type WireShape = number | readonly [slot: number, fields: readonly FieldDef[]]

/** Some rows of a stream. */
export interface WireRows {
  readonly rows: Record<string, unknown>[]
  readonly bytes: boolean
  readonly odd: readonly RawCell[] | null
  /** These are the last. */
  readonly done: boolean
}

/** A cell that the worker has to parse, because what the owner's parser makes of it cannot be copied. */
export interface RawCell {
  /** The cell's number in a result; the row's in a stream. */
  readonly index: number
  readonly column: string
  readonly text: string | Uint8Array
  readonly dataTypeID: number
  readonly format: string
  /** What the owner's parser makes of it; null where the worker has a parser of its own. */
  readonly className: string | null
}
