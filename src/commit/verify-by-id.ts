/** Finds out by its transaction id whether a transaction was committed (manual, "Transaction ID and Snapshot Information"). */
import { memberOf } from '../util/thrown.js'
import { COMMITTED, NOT_COMMITTED, notKnown, type IdEvidence, type Verdict } from './evidence.js'
import { BEGAN_THEN, TERMINATE, type Ask, type ServerIdentity } from './server-identity.js'

const OTHER_CLUSTER = notKnown(
  'another database cluster answers now, in which the transaction id means something else',
)

/** null: it is too long ago for the server to know. */
type Status = 'in progress' | 'committed' | 'aborted' | 'in the future' | null

const STATUS_TEXT = 'SELECT pg_catalog.pg_xact_status($1::pg_catalog.xid8) AS status'

/** It has this very transaction open. A session's beginning is hidden from the role that it has changed to. */
const TERMINATE_TEXT = `${TERMINATE}
  ($2::pg_catalog.text IS NULL OR ${BEGAN_THEN}) AND
  backend_xid::pg_catalog.text OPERATOR(pg_catalog.=) ($3::pg_catalog.xid8)::pg_catalog.xid::pg_catalog.text`

/** invalid_parameter_value: "transaction ID is in the future" */
const IN_THE_FUTURE = '22023'

const INSUFFICIENT_PRIVILEGE = '42501'

/** @param pause waits before a transaction that is still open is asked for again */
export async function verifyByID(
  ask: Ask,
  evidence: IdEvidence,
  here: ServerIdentity,
  pause: () => Promise<void>,
): Promise<Verdict> {
  const { session, id } = evidence
  if (here.system !== session.system) return OTHER_CLUSTER
  for (;;) {
    const status = await statusOf(ask, id)
    switch (status) {
      case 'in progress':
        await end(ask, evidence)
        await pause()
        continue
      case 'aborted':
      case 'in the future':
        return NOT_COMMITTED
      case 'committed':
        return committedIn(session, here)
      case null:
        return notKnown('the server keeps the outcome of recent transactions only, and this one is too old')
      default:
        return status satisfies never
    }
  }
}

/** Where the role may not end that session, it is waited for. */
async function end(ask: Ask, { session, id }: IdEvidence): Promise<void> {
  try {
    await ask(TERMINATE_TEXT, [session.processID, session.startedAt, id])
  } catch (error) {
    if (memberOf(error, 'code') !== INSUFFICIENT_PRIVILEGE) throw error
  }
}

async function statusOf(ask: Ask, id: string): Promise<Status> {
  try {
    const { rows } = await ask<{ status: Status }>(STATUS_TEXT, [id])
    return rows[0]!.status
  } catch (error) {
    if (memberOf(error, 'code') === IN_THE_FUTURE) return 'in the future'
    throw error
  }
}

/**
 * What was committed in a session is so still, unless the server was another since: a crash or a promotion may have lost
 * it, and given its id to another transaction.
 */
export function committedIn(session: ServerIdentity, here: ServerIdentity): Verdict {
  if (here.system !== session.system) return OTHER_CLUSTER
  if (here.timeline !== session.timeline) {
    return notKnown('another copy of the server was promoted, which may have used the transaction id again')
  }
  if (here.statsReset !== session.statsReset) {
    return notKnown(
      'the server has recovered from a crash, or its statistics were reset, and may have used the transaction id again',
    )
  }
  return COMMITTED
}
