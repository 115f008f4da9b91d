/** What a timeline remembers: one item for each thing that took its time, or happened. */
import type { Mark } from './marks.js'

/** What there are items of. */
export type Kind =
  /** The server connection is being opened. */
  | 'opening'
  /** It is open. */
  | 'connection'
  | 'wait'
  | 'hold'
  | 'transaction'
  | 'statement'
  | 'batch'
  /** The manager told something of itself. */
  | 'event'

/** From when to when something is known, in milliseconds since the recording began. */
export interface Period {
  /** Later than the beginning where older items had to go. */
  readonly from: number
  /** Now, or when it was stopped. */
  readonly to: number
}

/** What something failed with, in words that are safe to keep: the error itself may hold anything alive. */
export interface Failed {
  readonly name: string
  readonly code: string | null
  readonly message: string
}

/** What else is known, by the name that it is shown with. */
export type Facts = Record<string, string | number | boolean | null>

export interface Item {
  /** Counts up in the order in which things began: what something is part of has the lower number. */
  readonly id: number
  readonly kind: Kind
  readonly place: 'connection' | 'turn' | 'one-shot'
  /** Items of one turn have the same number, and each one-shot has its own. Null for the connection itself. */
  readonly task: number | null
  /** The item that it is part of: the hold of a transaction, the transaction of a statement. */
  readonly parent: number | null
  readonly label: string | null
  /** What is written on it: the text of a statement, or a word. */
  title: string
  /** Milliseconds since the recording began. */
  readonly start: number
  /** Null while it goes on. */
  end: number | null
  /** When a one-shot left the line; null in a turn, and where it is not known. */
  sent: number | null
  mark: Mark | null
  failed: Failed | null
  readonly facts: Facts
}
