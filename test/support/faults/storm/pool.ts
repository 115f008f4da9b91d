/** `pg.Pool` with one client in the storm, used as its documentation recommends. */
import pg from 'pg'
import { DATABASE, INSERT, LIMITS, type Enter, type Told } from './contestant.js'

export const pool: Enter = ({ host, port, user, password }) => {
  const clients = new pg.Pool({
    ...{ host, port, user, password, database: DATABASE, max: 1 },
    connectionTimeoutMillis: LIMITS.waitMillis,
    statement_timeout: LIMITS.statementMillis,
    query_timeout: LIMITS.statementMillis,
  })
  // Without the first, an idle client that is lost ends the process; without the second, one that is in use.
  clients.on('error', () => {})
  clients.on('connect', (client) => client.on('error', () => {}))
  return {
    name: 'pg.Pool, max: 1',
    transactions: [(rows) => transaction(clients, rows)],
    oneShot: ([id]) => oneShot(clients, id!),
    close: () => clients.end(),
  }
}

async function transaction(clients: pg.Pool, rows: readonly number[]): Promise<Told> {
  let client: pg.PoolClient
  try {
    client = await clients.connect()
  } catch {
    return 'refused'
  }
  let committing = false
  try {
    await client.query('BEGIN')
    for (const id of rows) await client.query(INSERT, [id])
    committing = true
    await client.query('COMMIT')
    client.release()
    return 'confirmed'
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    client.release(error as Error)
    return committing && !isRefusal(error) ? 'unknown' : 'refused'
  }
}

async function oneShot(clients: pg.Pool, id: number): Promise<Told> {
  try {
    await clients.query(INSERT, [id])
    return 'confirmed'
  } catch (error) {
    return isRefusal(error) ? 'refused' : 'unknown'
  }
}

/** The server itself has refused the statement; of anything else nobody knows how far it came. */
function isRefusal(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.severity === 'ERROR'
}
