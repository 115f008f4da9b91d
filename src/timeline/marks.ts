/** What deserves a second look on a timeline, how it is recognised, and the symbol that it is drawn with. */
import { memberOf } from '../util/thrown.js'
import type { RollbackReason } from '../events.js'

export type Mark =
  'leak' | 'timeout' | 'cancel' | 'lost' | 'reopened' | 'replay' | 'rollback' | 'long' | 'verified' | 'error'

/** How a mark is shown. */
export interface MarkSign {
  /** What the legend says. */
  readonly words: string
  /** An SVG path in a square of 16 by 16. */
  readonly path: string
  /** The name of its colour in the page's style. */
  readonly colour: 'bad' | 'warn' | 'good'
}

/** The shapes differ, so that nobody has to tell them apart by colour. */
export const SIGNS: Readonly<Record<Mark, MarkSign>> = {
  leak: {
    words: 'left open and rolled back: a transaction that nobody ended, or a statement that nobody awaited',
    path: 'M8 1C11 5 13 8 13 10.5A5 5 0 0 1 3 10.5C3 8 5 5 8 1Z',
    colour: 'bad',
  },
  timeout: {
    words: 'a time limit ran out: of waiting, of holding, or of a statement',
    path: 'M3 1H13V3L9 8L13 13V15H3V13L7 8L3 3Z',
    colour: 'warn',
  },
  cancel: {
    words: 'cancelled: aborted by its caller, or by the server (57014)',
    path: 'M5 1H11L15 5V11L11 15H5L1 11V5ZM4 7V9H12V7Z',
    colour: 'warn',
  },
  lost: {
    words: 'the connection was lost',
    path: 'M9 0L2 9H7L6 16L14 6H9Z',
    colour: 'bad',
  },
  reopened: {
    words: 'the connection was opened again',
    path: 'M8 1L15 8H11V15H5V8H1Z',
    colour: 'good',
  },
  replay: {
    words: 'sent again on the next connection, unnoticed by its caller',
    path: 'M1 2L7 8L1 14ZM8 2L14 8L8 14Z',
    colour: 'good',
  },
  rollback: {
    words: 'rolled back by the library, because its callback threw or it could not go on',
    path: 'M8 2V6H15V10H8V14L1 8Z',
    colour: 'warn',
  },
  long: {
    words: 'held for longer than holdWarningMillis',
    path: 'M8 0L16 8L8 16L0 8Z',
    colour: 'warn',
  },
  verified: {
    words: 'it was found out what became of a COMMIT whose answer was lost',
    path: 'M1 8L3 6L6 9L13 2L15 4L6 13Z',
    colour: 'good',
  },
  error: {
    words: 'any other error',
    path: 'M3 1L8 6L13 1L15 3L10 8L15 13L13 15L8 10L3 15L1 13L6 8L1 3Z',
    colour: 'bad',
  },
}

/** By an error's `code` or `name`; whatever is not here is an error like any other. */
const BY_NAME: Readonly<Record<string, Mark>> = {
  ERR_UNCOMMITTED_TRANSACTION: 'leak',
  ERR_UNFINISHED_STATEMENT: 'leak',
  ERR_ACQUIRE_TIMEOUT: 'timeout',
  ERR_HOLD_TIMEOUT: 'timeout',
  ERR_STATEMENT_TIMEOUT: 'timeout',
  TimeoutError: 'timeout',
  ABORT_ERR: 'cancel',
  AbortError: 'cancel',
  '57014': 'cancel',
  ERR_CONNECTION_LOST: 'lost',
}

/** How deep the causes of an error are looked at: an abort may be the cause of what a caller gets. */
const DEPTH = 3

/** What an error is marked with. */
export function markOf(error: unknown): Mark {
  let thrown = error
  for (let depth = 0; depth < DEPTH && thrown !== undefined; depth++) {
    for (const name of [memberOf(thrown, 'code'), memberOf(thrown, 'name')]) {
      const mark = typeof name === 'string' && Object.hasOwn(BY_NAME, name) ? BY_NAME[name] : undefined
      if (mark !== undefined) return mark
    }
    thrown = memberOf(thrown, 'cause')
  }
  return 'error'
}

/** What a rollback of the library's is marked with. */
export function markOfRollback(reason: RollbackReason): Mark {
  if (reason === 'hold timeout') return 'timeout'
  return reason === 'uncommitted' || reason === 'unfinished' || reason === 'one-shot' ? 'leak' : 'rollback'
}
