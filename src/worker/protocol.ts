/**
 * What a worker and the owner say to each other. A message is a list of entries, in order.
 *
 * A worker numbers what it asks for; the owner answers with that number. Exclusivity is the owner's line: `work`
 * starts when its turn is granted. Where the turns that are next in line are the same worker's, the owner says so
 * beforehand (`next`), and the worker starts the next one itself, the moment that its present one has left: then
 * COMMIT, release, the next BEGIN and its first statement travel in one message.
 *
 * A port is a border between the threads of one program: whatever comes out of it must not be able to disturb the
 * owner. So what a worker says is a table of checks, from which both sides have their types.
 */
import { MOST_VALUES } from '../pipeline/wire.js'
import { checkSettingName } from '../sql/turn-settings.js'
import { LONGEST_TIMER_MILLIS } from '../util/timer.js'
import type { FieldDef } from 'pg'
import type { ConnectionFacts } from '../api/manager.js'
import type { FaceOptions } from '../api/ports.js'
import type { Common } from '../face/scoped-broker.js'
import type { Notification } from '../api/subscription.js'
import type { WireThrown } from './wire-error.js'

/** Both sides must come from the same version of this package. */
export const PROTOCOL = 'pg-managed-connection/7'

/** The first message of a port. */
export interface Hello {
  readonly protocol: typeof PROTOCOL
  /** The owner's figures, see `shared-stats.ts`. */
  readonly stats: SharedArrayBuffer
  /** The connection string, as it is shown. */
  readonly conninfo: string
  readonly facts: ConnectionFacts
  readonly options: FaceOptions
  /** What all calls have in common. */
  readonly common: Common
}

/** What stands for the reason of a signal that aborted in the worker, where the reason itself is. */
export const CANCELLED = 'pg-managed-connection: cancelled by the worker'

type Check<T> = (value: unknown) => value is T
type Checks = readonly Check<unknown>[]
type Checked<C> = C extends Check<infer T> ? T : never
type AllChecked<C extends Checks> = { readonly [I in keyof C]: Checked<C[I]> }
type EntryOf<T extends Readonly<Record<string, Checks>>> = {
  [V in keyof T]: readonly [verb: V, ...AllChecked<T[V]>]
}[keyof T]

const isNumber: Check<number> = (value): value is number => Number.isSafeInteger(value) && Number(value) > 0
const isMillis: Check<number> = (value): value is number => typeof value === 'number' && value >= 0
const isPause: Check<number> = (value): value is number =>
  isMillis(value) && value >= 1 && value <= LONGEST_TIMER_MILLIS
const isBoolean: Check<boolean> = (value) => typeof value === 'boolean'
const isText: Check<string> = (value) => typeof value === 'string'
/** The server's protocol ends its strings with NUL. */
const isSqlText: Check<string> = (value): value is string => isText(value) && !value.includes('\0')
const isChannel: Check<string> = (value): value is string =>
  isSqlText(value) && value !== '' && Buffer.byteLength(value) <= 63
/** The name of a setting that a turn may have. */
const isSetting: Check<string> = (value): value is string => {
  if (!isText(value) || value !== value.toLowerCase()) return false
  checkSettingName(value)
  return true
}
const isName: Check<string> = (value): value is string => isSqlText(value) && value !== ''
/** The texts that the library makes for BEGIN. */
const isBegin: Check<string> = (value): value is string =>
  isText(value) && /^BEGIN(?: [A-Z, ]+)?$/.test(value)
const isParameter: Check<string | Uint8Array | null> = (value) =>
  value === null || typeof value === 'string' || value instanceof Uint8Array

function isOneOf<const T>(...words: readonly T[]): Check<T> {
  return (value): value is T => words.includes(value as T)
}

function orNull<T>(check: Check<T>): Check<T | null> {
  return (value): value is T | null => value === null || check(value)
}

function isListOf<T>(check: Check<T>, least: number, most: number): Check<readonly T[]> {
  return (value): value is readonly T[] => {
    if (!Array.isArray(value) || value.length < least || value.length > most) return false
    // Not by every(), which passes over holes.
    for (let i = 0; i < value.length; i++) if (!check(value[i])) return false
    return true
  }
}

function isTuple<const C extends Checks>(...checks: C): Check<AllChecked<C>> {
  return (value): value is AllChecked<C> =>
    Array.isArray(value) && value.length === checks.length && checks.every((check, i) => check(value[i]))
}

/** Its text, its values, its name, whether its results are binary, whether it goes by the extended protocol … */
const isStatement = isTuple(
  isSqlText,
  orNull(isListOf(isParameter, 0, MOST_VALUES)),
  orNull(isSqlText),
  isBoolean,
  isBoolean,
  // … its time limit, and whether a `cancel` may come for it.
  isMillis,
  isBoolean,
)

/** In a group, and whether it is found out about: by its id (true), or by a receipt in that table. */
const isCommitment = orNull(
  isTuple(
    isBoolean,
    (value): value is boolean | string => isBoolean(value) || (isSqlText(value) && value !== ''),
  ),
)

/** The settings by their names, and the role. */
const isSettings = orNull(isTuple(isListOf(isTuple(isSetting, isSqlText), 0, Infinity), orNull(isSqlText)))

/** What is said within a lease: its number, then that of the call, where it is answered. */
const IN_LEASE = {
  /** The worker has started the lease, which it was told is next. */
  begun: [isNumber],
  autocommit: [isNumber, isBoolean],
  /** Nobody wants it any more: what it has under way is cancelled and rolled back. */
  giveUp: [isNumber],
  statement: [isNumber, isNumber, isStatement],
  commit: [isNumber, isNumber],
  rollback: [isNumber, isNumber],
  /** A nested transaction begins, under a number of its own. */
  nest: [isNumber, isNumber, isNumber],
  /** It ends; the last tells whether its work has left one of its own open. */
  finish: [isNumber, isNumber, isNumber, isBoolean],
  abort: [isNumber, isNumber, isNumber],
  /** The next rows of the stream of that number; with the first come the statement and the size of the batches. */
  rows: [isNumber, isNumber, isNumber, orNull(isTuple(isStatement, isNumber))],
  drop: [isNumber, isNumber, isNumber],
  /**
   * The holder leaves. Of what it threw the owner has to know the server's code and severity, if there are any; the
   * last tells whether the connection is to be closed. The answer: whether the transaction may be retried.
   */
  leave: [isNumber, isNumber, isOneOf('returned', 'threw'), orNull(isTuple(isText, isText)), isBoolean],
} as const satisfies Readonly<Record<string, Checks>>

/** What else is said: the number of the call, the lease or the subscription first. */
const OUTSIDE = {
  /**
   * A lease is wanted: it stands in line, or takes what is free; the terms are autocommit, BEGIN, whether the library
   * commits, and how, and what is set; then come the time limit, the stack and the label. The answer: true once it is granted, null where none is free.
   */
  ask: [
    isNumber,
    isOneOf('wait', 'try'),
    isTuple(isBoolean, isBegin, isBoolean, isCommitment, isSettings),
    isMillis,
    orNull(isText),
    orNull(isText),
  ],
  /** Nobody waits for the lease any more. */
  withdraw: [isNumber],
  /** The answer to `late`: it waits, and its time has passed. */
  expired: [isNumber],
  /** The statement, the time limit for the wait, the label, and what is set for it. */
  query: [isNumber, isStatement, isMillis, orNull(isText), isSettings],
  /**
   * The statements, their BEGIN, the time limit for the wait, whether a `cancel` may come, how they are committed, the
   * label, and what is set for them.
   */
  batch: [
    isNumber,
    isListOf(isStatement, 1, Infinity),
    orNull(isBegin),
    isMillis,
    isBoolean,
    isCommitment,
    orNull(isText),
    isSettings,
  ],
  /** The channel, how many notifications are kept, and the time limit. */
  listen: [isNumber, isChannel, isMillis, isMillis],
  /** So many notifications have arrived. */
  heard: [isNumber, isNumber],
  unlisten: [isNumber],
  /** The name, and how long to wait between two tries. The answer: the epoch, once it is led. */
  lead: [isNumber, isName, isPause],
  /** The number of the call, and that of what was led, whose work is over. */
  stepDown: [isNumber, isNumber],
  /** The time limit for a server that is not there yet, and whether a `cancel` may come. */
  connect: [isNumber, isMillis, isBoolean],
  close: [isNumber],
  cancel: [isNumber],
  /** The figures are wanted as they are now. */
  look: [],
} as const satisfies Readonly<Record<string, Checks>>

const ENTRIES: Readonly<Record<string, Checks>> = { ...IN_LEASE, ...OUTSIDE }

export type LeaseEntry = EntryOf<typeof IN_LEASE>
export type ToOwner = LeaseEntry | EntryOf<typeof OUTSIDE>
/** What a worker says with this verb. */
export type Entry<V extends ToOwner[0]> = Extract<ToOwner, readonly [V, ...unknown[]]>
/** What is answered by its number. */
export type LeaseCall = Exclude<LeaseEntry, Entry<'begun' | 'autocommit' | 'giveUp'>>
export type WireStatement = Checked<typeof isStatement>

/** Gives back what it was given. @throws TypeError where that is nothing that a worker says */
export function checkEntry(entry: unknown): ToOwner {
  if (!Array.isArray(entry)) throw new TypeError('it is no list')
  const verb: unknown = entry[0]
  if (typeof verb !== 'string' || !Object.hasOwn(ENTRIES, verb)) {
    throw new TypeError('it has no verb that is known')
  }
  const checks = ENTRIES[verb]!
  if (entry.length !== checks.length + 1) throw new TypeError(`"${verb}" takes ${checks.length} arguments`)
  for (let i = 0; i < checks.length; i++) {
    if (!checks[i]!(entry[i + 1])) throw new TypeError(`argument ${i + 1} of "${verb}" is not what it takes`)
  }
  return entry as unknown as ToOwner
}

export type ToWorker =
  | readonly ['answer', id: number, answer: WireAnswer | boolean | string | null]
  | readonly ['failed', id: number, error: WireThrown]
  /** These leases are next in line, in this order. */
  | readonly ['next', leases: readonly number[]]
  /** The time of a lease that was said to be next has passed: has it been started? */
  | readonly ['late', lease: number]
  /** A lease that was started is no more: all that is unanswered on it fails. */
  | readonly ['revoked', lease: number, error: WireThrown]
  /** The lease's session is in another state. */
  | readonly ['state', lease: number, status: string]
  | readonly ['heard', subscription: number, notifications: readonly Notification[]]
  /** The subscription has ended: with an error, or with null. */
  | readonly ['unlistened', subscription: number, error: WireThrown]
  /** It is led no more, or that is not certain, and why. */
  | readonly ['deposed', leadership: number, error: WireThrown]
  /** The port is about to be closed, and why. */
  | readonly ['bye', why: string]

/** One result, or those of several statements. */
export type WireAnswer = WireResult | readonly WireResult[]

/** A cell as the server sent it: the worker parses. */
export type WireCell = string | null

/** A result: its cells in one flat list, row by row. */
export type WireResult<Shape = WireShape> = readonly [
  command: string,
  rowCount: number | null,
  oid: number,
  shape: Shape,
  rows: number,
  cells: readonly WireCell[],
]

/** The description of the columns: in full, or by the number under which it was sent before. */
export type WireShape = number | readonly [slot: number, fields: readonly FieldDef[]]
