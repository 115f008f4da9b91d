import type { FieldDef } from 'pg'
import { lookLikeQuery } from './patches.js'
import type { DriverConnection } from './driver.js'

/** What pg calls of a query as its messages arrive. Most queries are told most of them in vain. */
export abstract class PgQuery {
  /** Writes the query's messages. pg calls it when the query is next. */
  abstract submit(connection: DriverConnection): unknown
  abstract handleError(error: Error): void
  abstract handleCommandComplete(message: { text: string }): void
  handleRowDescription(_message: { fields: FieldDef[] }): void {}
  handleDataRow(_message: { fields: (string | null)[] }): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
  handleReadyForQuery(): void {}
  handleCopyData(): void {}

  handleCopyInResponse(connection: DriverConnection): void {
    connection.sendCopyFail('COPY FROM STDIN needs a stream: hand pg-copy-streams to query()')
  }
}

lookLikeQuery(PgQuery.prototype)
