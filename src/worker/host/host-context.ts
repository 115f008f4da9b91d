/** What the parts of one worker's side share. */
import type { ToWorker } from '../protocol.js'
import type { Aborts } from './aborts.js'
import type { SharedManager } from './shared-manager.js'
import type { ResultEncoder } from './result-encoder.js'

export interface HostContext {
  readonly desk: SharedManager
  readonly aborts: Aborts
  say(entry: ToWorker): void
  /** Says that the turn of this number is settled. */
  done(turn: number): void
  /** Says that what has this number failed. */
  fail(id: number, error: unknown): void
  /** Says what came out of the statement or the batch of this number. */
  answer(id: number, result: Parameters<ResultEncoder['encode']>[0]): void
  /** This buffer is given away with the next message, not copied. */
  transfer(buffer: ArrayBuffer): void
  /** The turn of this number is over. */
  settled(turn: number): void
}
