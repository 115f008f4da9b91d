/** Makes sure that a contestant does what is measured: each operation a committed transaction of its own. */
import type { Admin } from '../test/support/admin.js'
import type { Contestant, Setting } from './contestants/contestant.js'
import { insertNumber } from './work.js'

/** As many as pgbench sends together. */
const OPERATIONS = 50

interface Trace {
  readonly statements: number
  readonly transactions: number
}

/** Lets it insert rows instead of selecting them, and counts what has arrived in the server. */
export async function prove(contestant: Contestant, setting: Setting, admin: Admin): Promise<void> {
  const { statements } = setting.work
  await admin.query('TRUNCATE proof')
  const entrant = await contestant({ ...setting, work: insertNumber(statements) })
  try {
    await entrant.attempt(OPERATIONS)
  } finally {
    await entrant.close()
  }
  const text =
    'SELECT count(*)::int AS statements, count(DISTINCT xmin::text)::int AS transactions FROM proof'
  const [trace] = await admin.rows<Trace & Record<string, unknown>>(text)
  if (trace?.transactions !== OPERATIONS || trace.statements !== OPERATIONS * statements) {
    throw new Error(`${OPERATIONS} operations of ${statements} statements left ${JSON.stringify(trace)}`)
  }
}
