/** What a thread of the pool does for one document. */
import { pbkdf2Sync } from 'node:crypto'
import { threadId, type MessagePort } from 'node:worker_threads'
import { attach } from 'pg-managed-connection/worker'

export interface Task {
  readonly port: MessagePort
  readonly id: number
  /** How long to compute. */
  readonly rounds: number
}

export interface Report {
  readonly thread: number
  readonly processID: number | null
}

export default async function digest({ port, id, rounds }: Task): Promise<Report> {
  await using manager = attach(port)
  const { rows } = await manager.query<{ body: string }>('SELECT body FROM document WHERE id = $1', [id])
  // Outside of a transaction: nobody waits for this thread while it computes.
  const sum = pbkdf2Sync(rows[0]!.body, 'salt', rounds, 32, 'sha256').toString('hex')
  return await manager.transaction(async (connection) => {
    await connection.query('UPDATE document SET digest = $2 WHERE id = $1', [id, sum])
    return { thread: threadId, processID: connection.processID }
  })
}
