/** Whether something has replaced pg's `query()`: tracing does, by putting a function around it on the prototype. */
import { pg } from '../pg.js'

/** What stands in the place of pg's `query()`. */
export type PatchedQuery = (this: object, config: object, callback: (error?: unknown) => void) => unknown

/** Words of pg's own function, which no function around it has. */
const WORDS_OF_PG = 'Client was passed a null or undefined query'

let known: unknown
let patched: PatchedQuery | null = null

/** What replaces pg's `query()` now; null while that is pg's own. Costs nothing: it is read anew when it has changed. */
export function patchedQuery(): PatchedQuery | null {
  const { query } = pg.Client.prototype as { query: unknown }
  if (query !== known) {
    known = query
    patched = isOfPg(query) ? null : (query as PatchedQuery)
  }
  return patched
}

function isOfPg(query: unknown): boolean {
  return typeof query !== 'function' || Function.prototype.toString.call(query).includes(WORDS_OF_PG)
}
