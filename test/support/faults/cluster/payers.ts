/** Tasks that store payments through one manager, and keep what they were told of each. */
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import {
  createReceiptTable,
  ManagedConnection,
  ManagedConnectionError,
  type TransactionOptions,
} from 'pg-managed-connection'
import { Ledger, type Fate } from '../../ledger.js'
import { within } from '../../wait.js'

/** Longer than any failover here takes. */
const PATIENCE_MILLIS = 90_000
/** How long a statement may take, and with it how long a frozen primary goes unnoticed. */
const STATEMENT_MILLIS = 3_000
/** A task's time between two payments. */
const PAUSE_MILLIS = 20

const RECEIPTS = 'receipts'

/** How each payment is made. */
const EACH: TransactionOptions = { verifyCommit: { table: RECEIPTS }, groupCommit: true, retries: 20 }

/** What the server answers to one that it throws out in the middle of its work. */
const EXPECTED_CODES: ReadonlySet<unknown> = new Set(['57P01', '57P02', '57P03', '25006'])

export class Payers implements AsyncDisposable {
  readonly ledger = new Ledger()
  /** What nobody should ever get: there always is a primary again, which can be asked what became of a payment. */
  readonly strange: string[] = []
  readonly #manager: ManagedConnection
  #tasks: readonly Promise<void>[] = []
  #over = false
  #confirmedAt = performance.now()
  #longestGap = 0

  /** @param conninfo names all hosts */
  constructor(conninfo: string) {
    this.#manager = new ManagedConnection(`${conninfo} connect_timeout=2 keepalives_idle=5`, {
      acquireTimeoutMillis: PATIENCE_MILLIS,
      reconnectTimeoutMillis: PATIENCE_MILLIS,
      statementTimeoutMillis: STATEMENT_MILLIS,
    })
  }

  async start(tasks: number): Promise<void> {
    await this.#manager.query('CREATE TABLE payments (id bigint NOT NULL, amount int NOT NULL)')
    await createReceiptTable(this.#manager, RECEIPTS)
    this.#confirmedAt = performance.now()
    this.#tasks = Array.from({ length: tasks }, () => this.#pay())
  }

  async #pay(): Promise<void> {
    while (!this.#over) {
      const id = this.ledger.issue('paid')
      try {
        await this.#manager.transaction((connection) => store(connection, id), EACH)
        this.ledger.settle(id, 'confirmed', 'transaction()')
        this.#noteConfirmed()
      } catch (error) {
        const fate = fateOf(error)
        this.ledger.settle(id, fate, String(error))
        if (fate === 'unknown' || !isExpected(error)) this.strange.push(`payment ${id}: ${tell(error)}`)
      }
      await sleep(PAUSE_MILLIS)
    }
  }

  #noteConfirmed(): void {
    const now = performance.now()
    this.#longestGap = Math.max(this.#longestGap, now - this.#confirmedAt)
    this.#confirmedAt = now
  }

  /** How many COMMITs were not answered and then found out about: to have been done, or not. */
  get foundOut(): { readonly done: number; readonly notDone: number } {
    const { verifiedCommitted, verifiedNone } = this.#manager.stats
    return { done: verifiedCommitted, notDone: verifiedNone }
  }

  /** The longest time without a confirmation since this was last asked, in milliseconds. */
  takeLongestGap(): number {
    const gap = Math.max(this.#longestGap, performance.now() - this.#confirmedAt)
    this.#longestGap = 0
    return gap
  }

  /** No more payments; those under way end first. */
  async stop(): Promise<void> {
    this.#over = true
    await within(Promise.all(this.#tasks), 'the payers to end', PATIENCE_MILLIS + 10_000)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true
    await this.#manager.end({ timeoutMillis: 5_000 })
  }
}

async function store(connection: Pick<pg.ClientBase, 'query'>, id: number): Promise<void> {
  await connection.query('INSERT INTO payments VALUES ($1, 1)', [id])
}

/** A transaction that rejects is not stored, unless its error says that nobody knows. */
function fateOf(error: unknown): Fate {
  return (error as { commitOutcome?: unknown })?.commitOutcome === 'unknown' ? 'unknown' : 'refused'
}

function tell(error: unknown): string {
  return String((error as Error)?.stack ?? error)
}

function isExpected(error: unknown): boolean {
  return error instanceof ManagedConnectionError || EXPECTED_CODES.has((error as { code?: unknown })?.code)
}
