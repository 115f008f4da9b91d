/** Whoever stores rows in the storm, with one server connection. */
import type { Fate } from '../../ledger.js'
import type { Login } from '../../address.js'

/** What a caller knows of its rows once its call has settled. */
export type Told = Exclude<Fate, 'pending'>

/** One call: stores these rows, all or none of them. */
export type Store = (rows: readonly number[]) => Promise<Told>

export interface Contestant {
  readonly name: string
  /** Ways to store a few rows in one transaction; a task picks one of them each time. */
  readonly transactions: readonly Store[]
  /** Stores one row with a statement that commits by itself. */
  readonly oneShot: Store
  /** Waits for the connection to be closed, but not for ever. */
  close(): Promise<void>
}

export type Enter = (login: Login) => Contestant

/** How long things may take, for all contestants alike where they have such a limit. */
export const LIMITS = { connectMillis: 1_000, statementMillis: 1_000, waitMillis: 10_000 }

export const DATABASE = 'postgres'
export const INSERT = 'INSERT INTO stored VALUES ($1)'

/** What a task throws out of its own transaction now and then. */
export class ChangedItsMind extends Error {}
