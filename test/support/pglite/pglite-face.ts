/** A PGlite in the place of the tests' server: one for all files, emptied for each. */
import type { Duplex } from 'node:stream'
import type { PGlite } from '@electric-sql/pglite'
import pg from 'pg'
import { pgliteStream } from 'pg-managed-connection/pglite'
import { Admin, type Activity } from '../admin.js'
import type { TestDatabase } from '../database.js'

/** The streams that lead to a PGlite; one at a time can be open. */
export class Streams {
  readonly #make: () => Duplex
  readonly #open = new Set<Duplex>()

  constructor(db: PGlite) {
    this.#make = pgliteStream(db)
  }

  readonly make = (): Duplex => {
    const stream = this.#make()
    this.#open.add(stream)
    stream.once('close', () => this.#open.delete(stream))
    return stream
  }

  get open(): number {
    return this.#open.size
  }

  destroy(): void {
    for (const stream of this.#open) stream.destroy()
  }
}

/** PGlite's own way in, which waits while a transaction of a stream's is open. */
class PGliteAdmin extends Admin {
  readonly #db: PGlite
  readonly #streams: Streams

  constructor(db: PGlite, streams: Streams) {
    super({ host: '', port: 0, user: '', password: undefined }, 'postgres')
    this.#db = db
    this.#streams = streams
  }

  override async query<R extends pg.QueryResultRow = pg.QueryResultRow>(
    text: string,
    values: readonly unknown[] = [],
  ): Promise<pg.QueryResult<R>> {
    const options = { parsers: PARSERS }
    const result =
      values.length > 0
        ? await this.#db.query<R>(text, [...values], options)
        : (await this.#db.exec(text, options)).at(-1)!
    return { ...result, rowCount: result.rowCount ?? null } as unknown as pg.QueryResult<R>
  }

  /** Each stream is a backend. */
  override activity(): Promise<Activity[]> {
    const backend = { pid: PROCESS, state: null, query: '', application_name: '', wait_event_type: null }
    return Promise.resolve(Array.from({ length: this.#streams.open }, () => backend))
  }

  override terminate(): Promise<void> {
    return Promise.reject(new Error('nothing can end it: the test is to be left out'))
  }

  override cancel(): Promise<void> {
    return this.terminate()
  }

  override end(): Promise<void> {
    return Promise.resolve()
  }
}

/** What PGlite says its process is. */
const PROCESS = 42

/** Rows as pg gives them. */
const PARSERS = new Proxy({} as Record<number, (value: string) => unknown>, {
  get: (_none, oid) => pg.types.getTypeParser(Number(oid), 'text'),
})

/** Empties the PGlite and gives it as a test's database. */
export async function createPGliteDatabase(db: PGlite, streams: Streams): Promise<TestDatabase> {
  await db.exec('DROP SCHEMA public CASCADE; CREATE SCHEMA public')
  const drop = (): Promise<void> => Promise.resolve()
  return {
    name: 'postgres',
    get login(): never {
      throw new Error('nobody dials PGlite: the test is to be left out')
    },
    // What the tests hand on to `new ManagedConnection()` as it is: there the parameters may as well be an object.
    conninfo: { stream: streams.make } as unknown as string,
    admin: new PGliteAdmin(db, streams),
    drop,
    [Symbol.asyncDispose]: drop,
  }
}
