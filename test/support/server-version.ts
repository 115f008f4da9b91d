/** Tests of what a server may be too old for. */

/**
 * Why a test is skipped; false where it is to run, as it is on the server that the project brings.
 *
 * @param version the server's, such as "14.23" or 140023
 * @param since the first major release that has it
 */
export function tooOld(version: string | number, since: number, what: string): false | string {
  const major = typeof version === 'number' ? Math.floor(version / 10_000) : Number.parseInt(version)
  return major >= since ? false : `${what} came with PostgreSQL ${since}`
}
