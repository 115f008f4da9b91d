/** A statement as it was asked for, read and checked: what travels from the face down to the wire. */
import type { CustomTypesConfig } from 'pg'
import type { Classified } from '../sql/classify.js'
import type { TurnSettings } from '../sql/turn-settings.js'

/** A value as it is sent: text, bytes, or NULL. */
export type WireValue = string | Buffer | null

/** The transaction status that ReadyForQuery carries, in libpq's words. */
export type ReadyStatus = 'idle' | 'intrans' | 'inerror'

/** What is sent. */
export interface Statement {
  readonly text: string
  readonly values: readonly WireValue[]
  /** The user's own name for a prepared statement. */
  readonly name: string | undefined
  readonly rowMode: string | undefined
  readonly types: CustomTypesConfig | undefined
  readonly binary: boolean
  /** May be prepared under a name of ours. */
  readonly preparable: boolean
  /** Leaves the meaning of other texts as it is. */
  readonly harmless: boolean
  /** May undo a LISTEN of the session. */
  readonly mayUnlisten: boolean
}

/** The limits of a statement; absent ones do not apply. */
export interface StatementLimits {
  /** In milliseconds; 0 = none. */
  readonly timeoutMillis: number
  readonly signal: AbortSignal | undefined
}

/** A statement with what is known of its text, and with its limits. */
export interface StatementCall {
  readonly statement: Statement
  readonly text: Classified
  readonly limits: StatementLimits
  /** By the extended protocol, whatever the text. */
  readonly extended: boolean
  /** What the caller calls it; null where it has not said. */
  readonly label: string | null
  /** Of a one-shot: what its transaction is to have set; null: as the session has it. */
  readonly settings: TurnSettings | null
  /** Told when a one-shot, or a batch, is about to be sent. */
  readonly onSent?: (() => void) | undefined
}
