import type { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import type pg from 'pg'

/** The protocol side of a `pg.Client`, as far as opening a connection looks at it; pg's types leave it out. */
export interface PgConnection extends EventEmitter {
  readonly stream: Duplex
  attachListeners(stream: Duplex): void
}

/** What pg's types leave out of its client. */
export interface PgClientInternals {
  readonly connection: PgConnection
  readonly processID: number | null
  readonly secretKey: number | null
  /** What pg was told, or has asked for. */
  password: unknown
  readonly connectionParameters: Record<string, unknown>
  binary: boolean
  replication: unknown
  getStartupConf(): Record<string, string>
}

/** The same client, seen with what pg's types leave out. */
export function internals(client: pg.Client): PgClientInternals {
  return client as unknown as PgClientInternals
}
