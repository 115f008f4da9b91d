/**
 * What the session has set, so that what a transaction sets for itself alone does not outlive it: a savepoint that is
 * released keeps what SET LOCAL has set.
 */
import type { QueryResult } from 'pg'

/** What functions set under a name that nobody asks the server's list for: settings of the user's own. */
const OF_FUNCTIONS = `SELECT DISTINCT lower(found[1]) AS name FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace,
  regexp_matches(p.prosrc, '(?:set_config\\s*\\(\\s*''|SET\\s+LOCAL\\s+)(\\w+(?:\\.\\w+)+)', 'gi') AS found
  WHERE n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema'`

/** The order in which they are put back: the first two bring the right to set the others. */
const FIRST = ['session_authorization', 'role']

type Send = (text: string) => Promise<QueryResult>

export class SandboxSettings {
  readonly #send: Send
  /** Those with dots are in no list of the server's: they have to be known by name. */
  readonly #custom = new Set<string>()
  #known: ReadonlyMap<string, string> = new Map()

  constructor(send: Send) {
    this.#send = send
  }

  /** Takes what is set now for what the session has. */
  async note(): Promise<void> {
    this.#known = await this.#read()
  }

  /** Notes which settings functions have that were made meanwhile. */
  async noteFunctions(): Promise<void> {
    const { rows } = await this.#send(OF_FUNCTIONS)
    await this.know((rows as { name: string }[]).map(({ name }) => name))
  }

  /** Notes what these are, before they are set. */
  async know(names: readonly string[]): Promise<void> {
    const fresh = names.filter((name) => name.includes('.') && !this.#custom.has(name))
    if (fresh.length === 0) return
    const before = await this.#read(fresh)
    for (const name of fresh) this.#custom.add(name)
    // Of the others nothing is noted: some may have been set for the transaction that is open.
    const known = new Map(this.#known)
    for (const name of fresh) known.set(name, before.get(name)!)
    this.#known = known
  }

  async valueOf(name: string): Promise<string> {
    const { rows } = await this.#send(`SELECT coalesce(current_setting(${quote(name)}, true), '') AS value`)
    return (rows[0] as { value: string }).value
  }

  /**
   * What puts back whatever is not as it was. Of those that were set for the `session` the value of now is kept, or
   * that of `locals`, where SET LOCAL came behind it.
   */
  async restoring(session: ReadonlySet<string>, locals: ReadonlyMap<string, string>): Promise<string[]> {
    const seen = await this.#read()
    const known = new Map(this.#known)
    for (const name of session) {
      const value = locals.get(name) ?? seen.get(name)
      if (value === undefined) known.delete(name)
      else known.set(name, value)
    }
    this.#known = known
    const differing = [...new Set([...seen.keys(), ...known.keys(), ...locals.keys()])].filter(
      (name) => locals.has(name) || seen.get(name) !== known.get(name),
    )
    const isFirst = (name: string): boolean => FIRST.includes(name)
    const ordered = [
      ...FIRST.filter((name) => differing.includes(name)),
      ...differing.filter((name) => !isFirst(name)),
    ]
    return ordered.map((name) => setText(name, known.get(name)))
  }

  /** All that is set in the session or in a transaction of it, and what the session has of the user's own. */
  async #read(custom: Iterable<string> = this.#custom): Promise<Map<string, string>> {
    const names = ['session_authorization', 'role', ...custom].map(quote).join(', ')
    const { rows } = await this.#send(
      `SELECT name, setting FROM pg_catalog.pg_settings WHERE source = 'session' AND name NOT LIKE 'transaction\\_%'
      UNION ALL SELECT name, coalesce(current_setting(name, true), '') FROM unnest(ARRAY[${names}]) AS name`,
    )
    return new Map(
      (rows as { name: string; setting: string }[]).map(({ name, setting }) => [name.toLowerCase(), setting]),
    )
  }
}

/** In the place of a value nothing: what the session began with. */
function setText(name: string, value: string | undefined): string {
  if (value === undefined) return `RESET ${name}`
  return `SELECT pg_catalog.set_config(${quote(name)}, ${quote(value)}, false)`
}

export function quote(value: string): string {
  return `E'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
