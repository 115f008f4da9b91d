/** The libraries we compare with: loaded when they are installed, described as far as they are used. */
import { readFile } from 'node:fs/promises'

/** Where the sources of this folder are, seen from where they are compiled to. */
export const FOLDER = new URL('../../bench/', import.meta.url)

/** Rows as every library gives them, in the end. */
export type Rows = ArrayLike<Record<string, unknown>>

/** A template's literal parts, as a tag function gets them. */
export type Parts = readonly string[] & { readonly raw: readonly string[] }

/** postgres.js: one tag function for everything. */
export interface PostgresJsModule {
  default(options: object): PostgresJs
}

export interface PostgresJs {
  (parts: Parts, ...values: readonly unknown[]): Promise<Rows>
  begin(work: (sql: PostgresJs) => Promise<void>): Promise<void>
  end(): Promise<void>
}

/** pg-promise: a library that is initialised before it connects. */
export interface PgPromiseModule {
  default(options: object): (connection: object) => PgPromise
}

export interface PgPromise {
  tx(work: (task: PgPromiseTask) => Promise<void>): Promise<void>
  readonly $pool: { end(): Promise<void> }
}

export interface PgPromiseTask {
  any(text: string, values: readonly unknown[]): Promise<Rows>
}

export interface SlonikModule {
  createPool(uri: string, options: object): Promise<Slonik>
  readonly sql: { unsafe(parts: Parts, ...values: readonly unknown[]): object }
}

export interface Slonik {
  transaction(work: (connection: SlonikConnection) => Promise<void>): Promise<void>
  end(): Promise<void>
}

export interface SlonikConnection {
  query(token: object): Promise<{ readonly rows: Rows }>
}

interface Modules {
  readonly postgres: PostgresJsModule
  readonly 'pg-promise': PgPromiseModule
  readonly slonik: SlonikModule
}

/** The names under which the peers are installed. */
export const PEERS = ['postgres', 'pg-promise', 'slonik'] as const satisfies (keyof Modules)[]

/** Loads a peer; rejects when it is not installed. */
export async function loadPeer<N extends keyof Modules>(name: N): Promise<Modules[N]> {
  const { href } = new URL('import-peer.js', FOLDER)
  const { importPeer } = (await import(href)) as { importPeer(name: string): Promise<Modules[N]> }
  return importPeer(name)
}

/** The version of a peer that is installed, or null. */
export async function peerVersion(name: string): Promise<string | null> {
  const file = new URL(`node_modules/${name}/package.json`, FOLDER)
  const text = await readFile(file, 'utf8').catch(() => null)
  return text === null ? null : (JSON.parse(text) as { version: string }).version
}
