/** This library in the storm. */
import {
  ConnectionLostError,
  ManagedConnection,
  ManagedConnectionError,
  StatementTimeoutError,
  type Connection,
} from 'pg-managed-connection'
import {
  ChangedItsMind,
  DATABASE,
  INSERT,
  LIMITS,
  type Contestant,
  type Enter,
  type Store,
  type Told,
} from './contestant.js'

export const managed: Enter = ({ host, port, user, password }) => {
  const manager = new ManagedConnection(
    {
      ...{ host, port, user, dbname: DATABASE, sslmode: 'disable' },
      ...(password === undefined ? {} : { password }),
      connectionTimeoutMillis: LIMITS.connectMillis,
    },
    {
      acquireTimeoutMillis: LIMITS.waitMillis,
      statementTimeoutMillis: LIMITS.statementMillis,
      reconnectTimeoutMillis: LIMITS.waitMillis,
      releaseGraceMillis: LIMITS.statementMillis,
    },
  )
  return contest(manager)
}

function contest(manager: ManagedConnection): Contestant {
  const transactions = [plain, pipelined, nested].map((work) =>
    told((rows) => manager.transaction((c) => work(c, rows))),
  )
  return {
    name: 'pg-managed-connection',
    transactions: [
      ...transactions,
      told((rows) => manager.use((connection) => byHand(connection, rows))),
      told((rows) => manager.transaction((connection) => regret(connection, rows))),
      toldOfCommitting((rows) => manager.batch(rows.map((id) => ({ text: INSERT, values: [id] })))),
    ],
    oneShot: toldOfCommitting(([id]) => manager.query(INSERT, [id])),
    close: () => manager.end({ timeoutMillis: 5_000 }),
  }
}

async function plain(connection: Connection, rows: readonly number[]): Promise<void> {
  for (const id of rows) await connection.query(INSERT, [id])
}

async function pipelined(connection: Connection, rows: readonly number[]): Promise<void> {
  await Promise.all(rows.map((id) => connection.query(INSERT, [id])))
}

async function nested(connection: Connection, rows: readonly number[]): Promise<void> {
  for (const id of rows) await connection.transaction((inner) => inner.query(INSERT, [id]))
}

async function byHand(connection: Connection, rows: readonly number[]): Promise<void> {
  await plain(connection, rows)
  await connection.commit()
}

async function regret(connection: Connection, rows: readonly number[]): Promise<void> {
  await plain(connection, rows)
  throw new ChangedItsMind()
}

/** A transaction is known to have failed unless its COMMIT was not answered. */
function told(call: (rows: readonly number[]) => Promise<unknown>): Store {
  return (rows) => outcomeOf(call(rows), () => 'refused')
}

/** What commits by itself may have done so before its time ran out. */
function toldOfCommitting(call: (rows: readonly number[]) => Promise<unknown>): Store {
  return (rows) =>
    outcomeOf(call(rows), (error) =>
      error instanceof StatementTimeoutError && error.cause === undefined ? 'unknown' : 'refused',
    )
}

async function outcomeOf(called: Promise<unknown>, otherwise: (error: unknown) => Told): Promise<Told> {
  try {
    await called
    return 'confirmed'
  } catch (error) {
    const told =
      error instanceof ConnectionLostError
        ? error.commitOutcome === 'unknown'
          ? 'unknown'
          : 'refused'
        : otherwise(error)
    const contradicted = told === 'unknown' && error instanceof ManagedConnectionError && error.retrySafe
    if (contradicted) throw new Error('safe to retry, and yet unknown', { cause: error })
    return told
  }
}
