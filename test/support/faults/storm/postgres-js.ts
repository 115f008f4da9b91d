/** postgres.js with one connection in the storm, used as its documentation recommends. */
import postgres from 'postgres'
import { DATABASE, LIMITS, type Enter, type Told } from './contestant.js'

export const postgresJs: Enter = ({ host, port, user, password }) => {
  const sql = postgres({
    ...{ host, port, username: user, database: DATABASE, max: 1 },
    ...(password === undefined ? {} : { password }),
    connect_timeout: LIMITS.connectMillis / 1_000,
    connection: { statement_timeout: LIMITS.statementMillis },
    onnotice: () => {},
  })
  return {
    name: 'postgres.js, max: 1',
    transactions: [(rows) => transaction(sql, rows)],
    oneShot: ([id]) => oneShot(sql, id!),
    close: () => sql.end({ timeout: 5 }),
  }
}

async function transaction(sql: postgres.Sql, rows: readonly number[]): Promise<Told> {
  let committing = false
  try {
    await sql.begin(async (inner) => {
      for (const id of rows) await inner`INSERT INTO stored VALUES (${id})`
      committing = true
    })
    return 'confirmed'
  } catch (error) {
    return committing && !isRefusal(error) ? 'unknown' : 'refused'
  }
}

async function oneShot(sql: postgres.Sql, id: number): Promise<Told> {
  try {
    await sql`INSERT INTO stored VALUES (${id})`
    return 'confirmed'
  } catch (error) {
    return isRefusal(error) ? 'refused' : 'unknown'
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.severity === 'ERROR'
}
