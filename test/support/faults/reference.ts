/**
 * The program whose conversation is cut: it opens with a password and does each kind of work once. Every step names
 * the rows that it stores, and says what became of it.
 */
import type { Connection, ManagedConnection } from 'pg-managed-connection'
import type { Ledger } from '../ledger.js'

export type StepKind = 'one-shot' | 'batch' | 'transaction'

/** One call of the manager's. */
export interface Step {
  readonly name: string
  readonly kind: StepKind
  /** The rows that are stored if it resolves. */
  readonly rows: readonly number[]
  /** The rows that it has taken back itself. */
  readonly takenBack: readonly number[]
  readonly outcome: PromiseSettledResult<unknown>
  /** It is to fail with this. */
  readonly ownError: unknown
  readonly millis: number
  /** When it settled, on `performance.now()`'s clock. */
  readonly settledAt: number
}

/** The comment by which a statement says to which step it belongs. */
export const ANY_MARKER = /\/\*[a-z-]+\*\//
export const markerOf = (name: string): string => `/*${name}*/`

/** What the cancelled step aborts with. */
const CANCELLED = new Error('cancelled by the program')

/** Thrown inside a savepoint. */
class Undone extends Error {}

/** What a run of the program works with. */
export interface Props {
  readonly manager: ManagedConnection
  readonly ledger: Ledger
  /** Marks its rows. */
  readonly trial: number
  /** Cancels the step that is to be cancelled. */
  readonly abort: AbortController
  /** The fault has happened: what is under way ends, and nothing more begins. */
  readonly over: () => boolean
}

/** Runs the program once. */
export async function runReference(props: Props): Promise<Step[]> {
  const program = new Program(props)
  await program.run()
  return program.steps
}

/** A step's own view of the program: its marker and its rows. */
class Author {
  readonly name: string
  readonly rows: number[] = []
  readonly takenBack: number[] = []
  readonly #props: Props

  constructor(name: string, props: Props) {
    this.name = name
    this.#props = props
  }

  /** The text that stores a new row. */
  insert(rows = this.rows): string {
    const id = this.#props.ledger.issue(this.name)
    rows.push(id)
    return `INSERT INTO rows VALUES (${this.#props.trial}, ${id}) ${markerOf(this.name)}`
  }
}

class Program {
  readonly steps: Step[] = []
  readonly #props: Props

  constructor(props: Props) {
    this.#props = props
  }

  async run(): Promise<void> {
    const { manager, abort } = this.#props
    await this.#step('one-shot', 'one-shot', (author) => manager.query(author.insert()))
    await this.#transaction('two-statements', async (connection, author) => {
      await connection.query(author.insert())
      await connection.query(author.insert())
    })
    // The second has the turn from when the COMMIT of the first has been sent.
    await Promise.all(
      ['hands-over', 'takes-over'].map((name) =>
        this.#transaction(name, (connection, author) => connection.query(author.insert())),
      ),
    )
    await this.#step('batch', 'batch', (author) => manager.batch([author.insert(), author.insert()]))
    await this.#transaction('savepoint', nest)
    await this.#transaction('cancel', (connection, author) => cancel(connection, author, abort), CANCELLED)
    await this.#step('use', 'transaction', (author) =>
      manager.use(async (connection) => {
        await connection.query(author.insert())
        await connection.commit()
      }),
    )
  }

  #transaction(
    name: string,
    work: (connection: Connection, author: Author) => Promise<unknown>,
    ownError?: unknown,
  ): Promise<void> {
    const call = (author: Author): Promise<unknown> =>
      this.#props.manager.transaction((connection) => work(connection, author))
    return this.#step(name, 'transaction', call, ownError)
  }

  async #step(
    name: string,
    kind: StepKind,
    call: (author: Author) => Promise<unknown>,
    ownError?: unknown,
  ): Promise<void> {
    if (this.#props.over()) return
    const author = new Author(name, this.#props)
    const { rows, takenBack } = author
    const start = performance.now()
    const [outcome] = await Promise.allSettled([call(author)])
    const settledAt = performance.now()
    const facts = { name, kind, rows, takenBack, ownError }
    this.steps.push({ ...facts, outcome: outcome!, settledAt, millis: settledAt - start })
  }
}

/** One savepoint that is released and one that is rolled back to. */
async function nest(connection: Connection, author: Author): Promise<void> {
  await connection.query(author.insert())
  await connection.transaction((nested) => nested.query(author.insert()))
  const undone = connection.transaction(async (nested) => {
    await nested.query(author.insert(author.takenBack))
    throw new Undone()
  })
  await undone.catch((error: unknown) => {
    if (!(error instanceof Undone)) throw error
  })
}

const UNTIL_CANCELLED_MILLIS = 10

/** Its last statement runs until it is cancelled, over a connection of its own. */
async function cancel(connection: Connection, author: Author, abort: AbortController): Promise<void> {
  await connection.query(author.insert(author.takenBack))
  const timer = setTimeout(() => abort.abort(CANCELLED), UNTIL_CANCELLED_MILLIS)
  try {
    await connection.query({ text: `SELECT pg_sleep(60) ${markerOf(author.name)}`, signal: abort.signal })
  } finally {
    clearTimeout(timer)
  }
}
