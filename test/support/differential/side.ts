/** One side of the comparison: runs programs in a database of its own, and notes all that their holders see. */
import { setTimeout as sleep } from 'node:timers/promises'
import { ManagedConnection, type Connection } from 'pg-managed-connection'
import type { QueryResult } from 'pg'
import { BEGINNING, type Ask, type Program, type Step } from './programs.js'
import type { TestDatabase } from '../database.js'

/** How long a text is used before it is parsed anew: the documented second, made short. */
const LIFETIME_MILLIS = 15

class Undone extends Error {}

export class Side implements AsyncDisposable {
  readonly manager: ManagedConnection
  readonly #database: TestDatabase

  constructor(database: TestDatabase, prepare: boolean) {
    this.#database = database
    this.manager = new ManagedConnection(`${database.conninfo}&options=-ctimezone%3DUTC`, {
      prepare,
      preparedLifetimeMillis: LIFETIME_MILLIS,
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.manager.end()
  }

  /** What each ask saw, in order, and what is stored at the end. */
  async run(program: Program): Promise<string[]> {
    await this.manager.close()
    await this.#database.admin.query(BEGINNING)
    const seen: string[] = []
    for (const { elsewhere, asks } of program) {
      if (elsewhere !== null) await this.#elsewhere(elsewhere)
      seen.push(...(await Promise.all(asks.map((ask) => this.#ask(ask)))))
    }
    const stored = await this.#database.admin.rows(
      "SELECT 'p' AS t, p::text FROM public.items p UNION ALL SELECT 't1', a::text FROM t1.items a UNION ALL SELECT 't2', b::text FROM t2.items b ORDER BY 1, 2",
    )
    return [...seen, `stored ${JSON.stringify(stored)}`]
  }

  async #elsewhere(text: string): Promise<void> {
    await this.#database.admin.query(text).catch(() => {})
    await this.#database.admin.query('RESET search_path; RESET timezone')
    // What another session does may go unnoticed for so long.
    await sleep(LIFETIME_MILLIS + 2)
  }

  async #ask(ask: Ask): Promise<string> {
    const { manager } = this
    try {
      switch (ask.kind) {
        case 'query':
          return show(await manager.query(toConfig(ask.step)))
        case 'batch':
          return (await manager.batch(ask.steps.map(toConfig))).map(show).join(' ')
        case 'autocommit':
          return await manager.use((connection) => runSteps(connection, ask.steps, ask.atOnce), {
            autocommit: true,
          })
        case 'transaction':
          return await manager.transaction((connection) => runTransaction(connection, ask))
        default:
          return ask satisfies never
      }
    } catch (error) {
      return showError(error)
    }
  }
}

async function runTransaction(
  connection: Connection,
  { steps, undone, atOnce, end }: Ask & { kind: 'transaction' },
): Promise<string> {
  let seen = ''
  if (undone.length > 0) {
    const nested = async (inner: Connection): Promise<never> => {
      seen += await runSteps(inner, undone, false)
      throw new Undone()
    }
    await connection.transaction(nested).catch((error: unknown) => {
      if (!(error instanceof Undone)) throw error
    })
  }
  seen += await runSteps(connection, steps, atOnce)
  if (end === 'throw') throw new Error(`thrown behind ${seen}`)
  return seen
}

async function runSteps(connection: Connection, steps: readonly Step[], atOnce: boolean): Promise<string> {
  if (atOnce) {
    const settled = await Promise.allSettled(steps.map((step) => connection.query(toConfig(step))))
    return settled
      .map((one) => (one.status === 'fulfilled' ? show(one.value) : showError(one.reason)))
      .join(' ')
  }
  let seen = ''
  for (const step of steps) seen += `${show(await connection.query(toConfig(step)))} `
  return seen
}

function toConfig({ text, values }: Step): { text: string; values?: unknown[] } {
  return values === undefined ? { text } : { text, values: [...values] }
}

function show({ command, rowCount, fields, rows }: QueryResult): string {
  return JSON.stringify([command, rowCount, fields.map(({ name, dataTypeID }) => [name, dataTypeID]), rows])
}

function showError(error: unknown): string {
  const { code, message, cause } = error as { code?: string; message: string; cause?: { code?: string } }
  return `failed: ${code ?? ''} ${message} ${cause?.code ?? ''}`
}
