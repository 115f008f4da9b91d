/** pg's companions that speak the protocol for themselves, with the types that two of them do not bring along. */
import { createRequire } from 'node:module'
import type { Readable, Writable } from 'node:stream'
import type { Submittable } from 'pg'

const load = createRequire(import.meta.url)

/** A pg-cursor, as far as tests use it. */
export interface CursorLike<R = Record<string, unknown>> extends Submittable {
  read(rows: number): Promise<R[]>
  close(): Promise<void>
}

interface CopyStreams {
  from(text: string): Writable & Submittable & { readonly rowCount: number }
  to(text: string): Readable & Submittable & { readonly rowCount: number }
}

/** pg-cursor. */
export const Cursor = load('pg-cursor') as new <R = Record<string, unknown>>(
  text: string,
  values?: unknown[],
) => CursorLike<R>

/** pg-copy-streams. */
export const copy = load('pg-copy-streams') as CopyStreams
