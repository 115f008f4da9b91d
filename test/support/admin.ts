/** A connection of the tests' own, to look at the server and to do harm to its backends. */
import pg from 'pg'
import { toConninfo, type Login } from './address.js'
import { until } from './wait.js'

/** How the tests' own connections are told from those of the library. */
const OBSERVER = 'test-observer'

/** pg's client can do this, its types do not say so: whether it keeps the process alive. */
type HoldingClient = pg.Client & { ref(): void; unref(): void }

/** A row of pg_stat_activity, as far as tests look at it. */
export interface Activity {
  readonly pid: number
  readonly state: string | null
  readonly query: string
  readonly application_name: string
  readonly wait_event_type: string | null
}

/**
 * A plain `pg.Client` beside what is tested. It connects when it is first asked, again after the server has
 * restarted, and does not keep the process alive while it has nothing to do.
 */
export class Admin implements AsyncDisposable {
  readonly #conninfo: string
  #connecting: Promise<HoldingClient> | null = null
  #last: Promise<unknown> = Promise.resolve()

  constructor(login: Login, database: string) {
    this.#conninfo = toConninfo(login, database)
  }

  /** Runs a statement, each in a transaction of its own, one behind the other. */
  query<R extends pg.QueryResultRow = pg.QueryResultRow>(
    text: string,
    values: readonly unknown[] = [],
  ): Promise<pg.QueryResult<R>> {
    const answer = this.#last.then(() => this.#ask<R>(text, values))
    this.#last = answer.catch(() => {})
    return answer
  }

  async #ask<R extends pg.QueryResultRow>(
    text: string,
    values: readonly unknown[],
  ): Promise<pg.QueryResult<R>> {
    const client = await this.#client()
    client.ref()
    try {
      return await client.query<R>(text, [...values])
    } finally {
      client.unref()
    }
  }

  /** The rows that a statement returns. */
  async rows<R extends pg.QueryResultRow = pg.QueryResultRow>(
    text: string,
    values?: readonly unknown[],
  ): Promise<R[]> {
    return (await this.query<R>(text, values)).rows
  }

  /** The ids in the table `t`, which many tests fill, in order. */
  async ids(): Promise<number[]> {
    return (await this.rows<{ id: number }>('SELECT id FROM t ORDER BY id')).map(({ id }) => id)
  }

  /** What every client of this database does just now, the tests' own connections left out. */
  activity(): Promise<Activity[]> {
    const text =
      'SELECT pid, state, query, application_name, wait_event_type FROM pg_stat_activity ' +
      "WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> $1 " +
      'ORDER BY backend_start, pid'
    return this.rows<Activity & pg.QueryResultRow>(text, [OBSERVER])
  }

  /** The pids of {@link activity}. */
  async backends(): Promise<number[]> {
    return (await this.activity()).map(({ pid }) => pid)
  }

  /** Ends a backend (57P01 to its client) and waits until it has gone. */
  async terminate(pid: number): Promise<void> {
    await this.query('SELECT pg_terminate_backend($1)', [pid])
    await until(async () => !(await this.backends()).includes(pid), { what: `backend ${pid} to go` })
  }

  /** The server's version, such as 180004: for what older ones do not have. */
  async serverVersion(): Promise<number> {
    const { rows } = await this.query<{ version: number }>(
      "SELECT current_setting('server_version_num')::int AS version",
    )
    return rows[0]!.version
  }

  /** Cancels what a backend does (57014 to its client). */
  async cancel(pid: number): Promise<void> {
    await this.query('SELECT pg_cancel_backend($1)', [pid])
  }

  /** Disconnects; the next question connects again. */
  async end(): Promise<void> {
    const connecting = this.#connecting
    this.#connecting = null
    const client = await connecting
    client?.ref() // or the process might end first
    await client?.end()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end()
  }

  #client(): Promise<HoldingClient> {
    this.#connecting ??= this.#connect()
    return this.#connecting
  }

  async #connect(): Promise<HoldingClient> {
    const client = new pg.Client({
      connectionString: this.#conninfo,
      application_name: OBSERVER,
    }) as HoldingClient
    const forget = (): void => {
      this.#connecting = null
    }
    client.on('error', forget) // the server went away: the next question connects again
    client.on('end', forget)
    try {
      await client.connect()
      return client
    } catch (error) {
      forget()
      throw error
    }
  }
}
