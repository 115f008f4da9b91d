/** What a user's program does first, in TypeScript. Whatever project it is put into, it prints the same. */
import { ManagedConnection, UncommittedTransactionError, type Connection } from 'pg-managed-connection'
import { asPool } from 'pg-managed-connection/pool'

async function countTo(connection: Connection, last: number): Promise<number> {
  let sum = 0
  for await (const { n } of connection.stream<{ n: number }>(
    'SELECT n FROM generate_series(1, $1::int) AS n',
    [last],
  )) {
    sum += n
  }
  return sum
}

async function main(): Promise<void> {
  const manager = new ManagedConnection(process.env['CONNINFO'] ?? '')
  const sum = await manager.transaction((connection) => countTo(connection, 4))
  const left: unknown = await manager
    .use((connection) => connection.query('SELECT 1'))
    .catch((error: unknown) => error)
  const failed: unknown = await manager.query('SELEC 1').catch((error: unknown) => error)
  const pooled = await asPool(manager).query<{ two: number }>('SELECT 2 AS two')
  await manager.end()
  console.log(
    JSON.stringify({
      sum,
      left: left instanceof UncommittedTransactionError && left.name,
      failed: (failed as { code?: string }).code,
      two: pooled.rows[0]?.two,
    }),
  )
}

void main()
