/** Transactions whose COMMIT is found out about, with the conversation cut at any byte: no outcome may stay unknown. */
import {
  ConnectError,
  ConnectionLostError,
  createReceiptTable,
  ManagedConnection,
} from 'pg-managed-connection'
import type { VerifyCommit } from 'pg-managed-connection'
import { outcome } from '../caught.js'
import type { TestDatabase } from '../database.js'
import { conninfoThrough } from '../proxied.js'
import { startProxy, type CutKind, type Direction } from '../proxy.js'
import { within } from '../wait.js'

/** What is done to the conversation, and how COMMITs are found out about in it. */
export interface VerifiedFault {
  readonly direction: Direction
  readonly bytes: number
  readonly how: CutKind
  readonly verifyCommit: Exclude<VerifyCommit, false>
  readonly groupCommit: boolean
}

const WAYS = [true, { table: 'receipts' }] as const
const CUTS: readonly CutKind[] = ['reset', 'fin', 'half open', 'deaf']
const HANG_MILLIS = 40_000

/** What a peer that went deaf may take to answer, in milliseconds. */
const DEAF_MILLIS = 1_500

let lastID = 0

export async function prepareVerified(database: TestDatabase): Promise<void> {
  await database.admin.query('CREATE TABLE payment (id int)')
  await using manager = new ManagedConnection(database.conninfo)
  await createReceiptTable(manager, 'receipts')
}

/** All faults at every `stride`-th byte. */
export async function planVerified(database: TestDatabase, stride = 1): Promise<VerifiedFault[]> {
  const faults: VerifiedFault[] = []
  for (const verifyCommit of WAYS) {
    for (const groupCommit of [false, true]) {
      const lengths = await measure(database, { verifyCommit, groupCommit })
      for (const direction of ['toServer', 'toClient'] as const)
        for (let bytes = 0; bytes <= lengths[direction]; bytes += stride)
          for (const how of CUTS) faults.push({ direction, bytes, how, verifyCommit, groupCommit })
    }
  }
  return faults
}

async function measure(
  database: TestDatabase,
  options: Pick<VerifiedFault, 'verifyCommit' | 'groupCommit'>,
): Promise<Record<Direction, number>> {
  await using proxy = await startProxy(database.login)
  await using manager = new ManagedConnection(conninfoThrough(proxy, database), options)
  await Promise.all(Object.values(STEPS).map((step) => step(manager, 0)))
  return { ...proxy.bytes }
}

const INSERT = 'INSERT INTO payment VALUES ($1)'

const STEPS: Readonly<Record<string, (manager: ManagedConnection, id: number) => Promise<unknown>>> = {
  transaction: (manager, id) => manager.transaction((connection) => connection.query(INSERT, [id])),
  savepoint: (manager, id) =>
    manager.transaction((connection) => connection.transaction((inner) => inner.query(INSERT, [id]))),
  text: (manager, id) =>
    manager.transaction((connection) => connection.query(`SELECT 1; INSERT INTO payment VALUES (${id})`)),
  batch: (manager, id) => manager.batch([{ text: INSERT, values: [id] }, 'SELECT 1']),
}

/** What came of a trial: what is wrong, a sentence each, and how many COMMITs were found out about. */
export interface VerifiedVerdict {
  readonly wrong: readonly string[]
  readonly verified: number
}

/** Runs the steps with a fault, and compares what each was told with what is stored. */
export async function tryVerified(database: TestDatabase, fault: VerifiedFault): Promise<VerifiedVerdict> {
  await using proxy = await startProxy(database.login)
  proxy.cutAfter({ ...fault, counting: 'all' })
  const { verifyCommit, groupCommit, how } = fault
  const isDeaf = how === 'deaf'
  const conninfo = `${conninfoThrough(proxy, database)}${isDeaf ? '&connect_timeout=2' : ''}`
  const manager = new ManagedConnection(conninfo, {
    verifyCommit,
    groupCommit,
    ...(isDeaf ? { statementTimeoutMillis: DEAF_MILLIS, releaseGraceMillis: DEAF_MILLIS } : {}),
  })
  const steps = Object.entries(STEPS).map(([name, step]) => ({ name, step, id: ++lastID }))
  const where = `${how} at byte ${fault.bytes} ${fault.direction}, ${JSON.stringify({ verifyCommit, groupCommit })}`
  try {
    const settled = await within(
      Promise.all(steps.map(({ step, id }) => outcome(step(manager, id)))),
      `all to settle: ${where}`,
      HANG_MILLIS,
    )
    await manager.end({ timeoutMillis: 5_000 })
    proxy.close()
    const wrong: string[] = []
    for (const [index, { name, id }] of steps.entries()) {
      const fault = await objection(database, id, settled[index]!)
      if (fault !== null) wrong.push(`${where}: ${name}: ${fault}`)
    }
    const { verifiedCommitted, verifiedNone } = manager.stats
    return { wrong, verified: verifiedCommitted + verifiedNone }
  } catch (error) {
    return { wrong: [`${where}: ${String(error)}`], verified: 0 }
  }
}

async function objection(
  { admin }: TestDatabase,
  id: number,
  settled: PromiseSettledResult<unknown>,
): Promise<string | null> {
  const stored = (await admin.rows('SELECT 1 FROM payment WHERE id = $1', [id])).length
  if (settled.status === 'fulfilled') return stored === 1 ? null : `confirmed, and stored ${stored} times`
  const error = settled.reason as Error
  if (stored > 0) return `told "${error.message}", and it is stored`
  // The very first connect fails at once.
  if (error instanceof ConnectError) return null
  if (error instanceof ConnectionLostError)
    return error.commitOutcome === 'unknown' ? `unknown: ${error.verification}` : null
  return error.name === 'StatementTimeoutError' ? null : `an error that nothing explains: ${error.stack}`
}
