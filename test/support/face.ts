/** What the tests of a file run on: a server, or what a file that runs others' tests has put in its place. */
import type { TestDatabase } from './database.js'

/** Something in the place of a server. */
export interface Face {
  /** A database without anything in it. */
  createDatabase(): Promise<TestDatabase>
  /** Whether a test cannot hold there. */
  leavesOut(sentence: string): boolean
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
