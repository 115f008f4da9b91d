/** What a backend that was not used is asked before it is handed out. */
import { QueryRequest } from '../pipeline/query-request.js'
import { SyncRequest } from '../pipeline/control-request.js'
import { TRAITS } from '../pipeline/request.js'
import { ownStatement } from '../pipeline/statement-part.js'
import { clock } from '../util/clock.js'
import { SILENT_OWNER } from './silent-owner.js'
import type { QueryResult } from 'pg'
import type { Request } from '../pipeline/request.js'
import type { Backend } from './backend.js'

/** So long, in milliseconds, an answer may take; the connection is lost when it does not come. */
const BOUNDED = { ...TRAITS, limitMillis: 5_000 }

/** What asks a server whether it is what each `target_session_attrs` wants. */
const WRITABLE_QUERIES: Readonly<Record<string, string>> = {
  'read-write': "SELECT pg_catalog.current_setting('transaction_read_only') = 'off' AS writable",
  primary: 'SELECT NOT pg_catalog.pg_is_in_recovery() AS writable',
}

/** The connection is to be one that takes writes. */
export function wantsWritable(targetSessionAttrs: string): boolean {
  return WRITABLE_QUERIES[targetSessionAttrs] !== undefined
}

/** Waits until what lies in the sockets has been read: the connection's end may be among it. */
export function lookAtSocket(): Promise<void> {
  return new Promise((resolve) => clock.setImmediate(resolve))
}

export async function validate(backend: Backend): Promise<void> {
  await answerOf(backend, new SyncRequest(SILENT_OWNER, BOUNDED))
}

/** Whether it still is what `target_session_attrs` asks for, as far as writing goes. */
export async function isAsWanted(backend: Backend, targetSessionAttrs: string): Promise<boolean> {
  const text = WRITABLE_QUERIES[targetSessionAttrs]
  if (text === undefined) return true
  const { rows } = await askSilently<QueryResult<{ writable: boolean }>>(backend, text)
  return rows[0]?.writable === true
}

/** Asks it outside of the line. Nothing may be open on it. */
export function askSilently<T>(backend: Backend, text: string): Promise<T> {
  return answerOf(backend, new QueryRequest(SILENT_OWNER, ownStatement(text), BOUNDED))
}

function answerOf<T>(backend: Backend, request: Request): Promise<T> {
  const answered = request.promise<T>()
  backend.pipeline.submit(request)
  return answered
}
