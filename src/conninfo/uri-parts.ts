/** The parts of a URI as libpq reads them, however odd: nothing is decoded, and nothing refused. */

export interface UriParts {
  /** Up to `://`, and with it. */
  readonly scheme: string
  /** Up to the `@` that ends it, and with it; empty where there is none. */
  readonly login: string
  /** The hosts and what follows them, up to the query. */
  readonly rest: string
  /** With its `?`; empty where there is none. */
  readonly query: string
}

export function splitUri(uri: string): UriParts {
  const start = uri.indexOf('://') + '://'.length
  const slash = uri.indexOf('/', start)
  const at = uri.indexOf('@', start)
  const restAt = at >= 0 && (slash < 0 || at < slash) ? at + 1 : start
  const queryAt = findQuery(uri, restAt)
  return {
    scheme: uri.slice(0, start),
    login: uri.slice(start, restAt),
    rest: uri.slice(restAt, queryAt),
    query: uri.slice(queryAt),
  }
}

/** A `?` in brackets is a character of the host in them. */
function findQuery(uri: string, from: number): number {
  const lastBracket = uri.lastIndexOf(']')
  for (let at = from; at < uri.length; at++) {
    if (uri[at] === '?') return at
    if (uri[at] === '[' && at < lastBracket) at = uri.indexOf(']', at)
  }
  return uri.length
}
