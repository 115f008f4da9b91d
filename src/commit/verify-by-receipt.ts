/** Finds out by its receipt whether a transaction was committed: whether the row is there, and can no longer come. */
import { memberOf } from '../util/thrown.js'
import { COMMITTED, NOT_COMMITTED, notKnown, type ReceiptEvidence, type Verdict } from './evidence.js'
import { BEGAN_THEN, TERMINATE, type Ask, type ServerIdentity } from './server-identity.js'

/** How long receipts are kept at least, in seconds. */
const RECEIPT_SECONDS = 24 * 60 * 60

/** How long an insert may wait for a session that has the same row open, in milliseconds. */
const LOCK_MILLIS = 1_000

const UNIQUE_VIOLATION = '23505'
const LOCK_NOT_AVAILABLE = '55P03'

/** @param pause waits before a row that somebody has open is asked for again */
export async function verifyByReceipt(
  ask: Ask,
  evidence: ReceiptEvidence,
  here: ServerIdentity,
  pause: () => Promise<void>,
): Promise<Verdict> {
  const { session, sentAt, isOwn } = evidence
  if (here.system !== session.system) {
    return notKnown('another database cluster answers now, which knows nothing of the receipts of this one')
  }
  if (here.time - sentAt > RECEIPT_SECONDS) return notKnown('its receipt is more than 24 hours old')
  for (;;) {
    // It would be waited for, if it has the row open still.
    if (isOwn) await ask(`${TERMINATE} ${BEGAN_THEN}`, [session.processID, session.startedAt])
    const verdict = await insertInItsPlace(ask, evidence)
    if (verdict !== null) return verdict
    await pause()
  }
}

/**
 * A row of the same id that is *committed* keeps the old transaction from ever committing its own. With ON CONFLICT DO
 * NOTHING it could still. Null where the row is in the hands of another session.
 */
async function insertInItsPlace(ask: Ask, { table, id, mark }: ReceiptEvidence): Promise<Verdict | null> {
  const insert = `INSERT INTO ${table} (id) VALUES ($1)`
  await ask('BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE')
  try {
    await ask(`SET LOCAL lock_timeout TO ${LOCK_MILLIS}`)
    // An earlier attempt to find out may have been committed without having been answered.
    if (!(await inserts(ask, insert, mark))) return await rolledBack(ask, NOT_COMMITTED)
    if (!(await inserts(ask, insert, id))) return await rolledBack(ask, COMMITTED)
    await ask('COMMIT')
    return NOT_COMMITTED
  } catch (error) {
    const code = memberOf(error, 'code')
    if (typeof code !== 'string' || !isSqlState(code)) throw error
    const isHeld = code === LOCK_NOT_AVAILABLE
    return await rolledBack(
      ask,
      isHeld ? null : notKnown(`the receipt could not be looked for: ${(error as Error).message}`),
    )
  }
}

async function rolledBack<T>(ask: Ask, verdict: T): Promise<T> {
  await ask('ROLLBACK')
  return verdict
}

/** False where a committed row of that id is there. */
async function inserts(ask: Ask, text: string, id: string): Promise<boolean> {
  try {
    await ask(text, [id])
    return true
  } catch (error) {
    if (memberOf(error, 'code') === UNIQUE_VIOLATION) return false
    throw error
  }
}

/** Not of class 57 or 08: the connection itself is in trouble then, and the next one is asked. */
function isSqlState(code: string): boolean {
  return /^[0-9A-Z]{5}$/.test(code) && !/^(57|08)/.test(code)
}
