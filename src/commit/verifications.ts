/** The COMMITs whose answer was lost, until it is known what became of them. */
import { Failure } from '../connect/index.js'
import { ask as askClient } from '../pg/ask.js'
import { now } from '../util/clock.js'
import { pause } from '../util/pause.js'
import { COMMITTED, notKnown, type Evidence, type Verdict } from './evidence.js'
import { readIdentity, type Ask, type ServerIdentity } from './server-identity.js'
import { committedIn, verifyByID } from './verify-by-id.js'
import { verifyByReceipt } from './verify-by-receipt.js'
import type { Client } from 'pg'

/** Between two questions to a server on which the transaction is still open, in milliseconds. */
const PAUSE_MILLIS = 50

interface Pending {
  readonly evidence: Evidence
  /** When nobody waits any longer, on the clock of `now()`. */
  readonly deadline: number
  readonly settle: (verdict: Verdict) => void
  /** It was found to be committed, on the connection that is being set up. */
  isCommitted: boolean
}

export class Verifications {
  readonly #pending = new Set<Pending>()
  /** Opens the connection, or joins the attempt under way. */
  readonly #open: () => Promise<unknown>

  constructor(open: () => Promise<unknown>) {
    this.#open = open
  }

  /** A connection is needed to find something out. */
  get due(): boolean {
    return this.#pending.size > 0
  }

  /**
   * Finds out what became of the transaction. Never rejects.
   *
   * @param deadline until when its end is waited for, on the clock of `now()`
   */
  verify(evidence: Evidence, deadline: number): Promise<Verdict> {
    return new Promise((resolve) => {
      const pending: Pending = {
        evidence,
        deadline,
        isCommitted: false,
        settle: (verdict) => {
          this.#pending.delete(pending)
          resolve(verdict)
        },
      }
      this.#pending.add(pending)
      this.#open().then(
        () => pending.settle(notKnown('the connection had been opened before it could be asked')),
        (error: Error) => pending.settle(notKnown(whyNot(pending, error))),
      )
    })
  }

  /**
   * Finds out, on a connection that is nobody else's yet.
   *
   * @throws Failure
   */
  async run(client: Client): Promise<void> {
    if (!this.due) return
    const ask: Ask = (text, values) => askClient(client, text, values)
    const here = await readIdentity(ask)
    // It takes no writes, and may not know of the last ones: another has to be found.
    if (here.recovering) {
      throw new Failure(
        'session',
        'the server is in recovery; what became of a COMMIT is asked of the primary',
      )
    }
    for (const pending of this.#pending) {
      const verdict = await this.#find(ask, pending, here)
      pending.isCommitted = verdict.outcome === 'committed'
      if (!pending.isCommitted) pending.settle(verdict)
    }
  }

  /**
   * The connection that was asked is open. Only now it is told what is committed, so that the flush that makes it last
   * goes to no other: a server that has crashed in between may know nothing of it.
   */
  onOpened(): void {
    for (const pending of this.#pending) if (pending.isCommitted) pending.settle(COMMITTED)
  }

  async #find(ask: Ask, { evidence, deadline }: Pending, here: ServerIdentity): Promise<Verdict> {
    const wait = async (): Promise<void> => {
      if (now() >= deadline) throw new StillOpenError()
      await pause(PAUSE_MILLIS)
    }
    try {
      switch (evidence.kind) {
        case 'id':
          return await verifyByID(ask, evidence, here, wait)
        case 'receipt':
          return await verifyByReceipt(ask, evidence, here, wait)
        case 'answer':
          return committedIn(evidence.session, here)
        default:
          return evidence satisfies never
      }
    } catch (error) {
      if (error instanceof StillOpenError) return notKnown(error.message)
      throw error
    }
  }
}

function whyNot({ isCommitted }: Pending, error: Error): string {
  return isCommitted
    ? `it was committed, but could not be made durable: ${error.message}`
    : `no server could be asked: ${error.message}`
}

class StillOpenError extends Error {
  constructor() {
    super(
      'the session that had sent the COMMIT has the transaction still open, and could not be ended in time',
    )
  }
}
