/** What the tests of a file run on: a server, or what a file that runs others' tests has put in its place. */
import type { ManagedConnection } from 'pg-managed-connection'
import type { DatabaseOptions, TestDatabase } from './database.js'

/** What a test may need that a server has, and not everything in the place of one. */
export type Need =
  /** A way in between that can be watched, held up and cut. */
  | 'wire'
  /** A connection that somebody else can end, and watch. */
  | 'kill'
  /** Something can be done while a statement runs, such as cancelling it. */
  | 'cancel'
  /** What the server is busy with keeps none of our timers waiting. */
  | 'parallel'
  /** Several sessions at the same time. */
  | 'sessions'
  /** Each connection is a process of the server's, with a number of its own. */
  | 'backends'
  /** Other processes may connect. */
  | 'processes'
  /** COPY FROM STDIN. */
  | 'copy in'
  /** Settings as a new database has them. */
  | 'defaults'
  /** Sessions that may become another user's. */
  | 'users'
  /** The manager's own thread: submittables, callbacks, and what only the owner is told. */
  | 'own thread'

/** Something in the place of a server. */
export interface Face {
  /** Default: the package's. */
  readonly ManagedConnection?: typeof ManagedConnection
  /** A database without anything in it. */
  createDatabase(options?: DatabaseOptions): Promise<TestDatabase>
  /** Asked for each need of a test, which is left out where one of them is not met. */
  has(need: Need): boolean
  /** A test ran out of time: what it has open is in nobody's way any more. */
  abandon(): void
}

let current: Face | null = null

/** From now on `openSuite()` gives databases and tests of this face. */
export function useFace(face: Face): void {
  current = face
}

/** Null where the tests run on a server. */
export function currentFace(): Face | null {
  return current
}
