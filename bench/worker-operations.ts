/** What is measured of workers. */
import type { Manager } from 'pg-managed-connection'

export const WORKER_KINDS = ['transaction', 'use', 'query', 'batch'] as const

export type WorkerKind = (typeof WORKER_KINDS)[number]

const TEXT = 'SELECT $1::int AS n'

export function operation(manager: Manager, kind: WorkerKind): (n: number) => Promise<void> {
  switch (kind) {
    case 'transaction':
      return (n) =>
        manager.transaction(async (connection) => {
          check((await connection.query(TEXT, [n])).rows, n)
        })
    case 'use':
      return (n) =>
        manager.use(async (connection) => {
          check((await connection.query(TEXT, [n])).rows, n)
          await connection.commit()
        })
    case 'query':
      return async (n) => check((await manager.query(TEXT, [n])).rows, n)
    case 'batch':
      return async (n) => {
        const [result] = await manager.batch([{ text: TEXT, values: [n] }])
        check(result!.rows, n)
      }
    default:
      return kind satisfies never
  }
}

function check(rows: { n: number }[], n: number): void {
  if (rows.length !== 1 || rows[0]!.n !== n) throw new Error(`expected the number ${n} in one row`)
}
