/**
 * What brings a session back to the state that `onConnect` left. RESET ALL and DISCARD ALL go too far: they undo
 * what `onConnect` had set (a role, a search_path: a hole in row security), and DISCARD ALL drops LISTEN and
 * prepared statements, too.
 */
import { ask } from '../pg/ask.js'
import { escapeIdentifier, escapeLiteral } from '../pg/driver.js'
import { TRAITS, type Sender } from '../pipeline/request.js'
import { TextRequest } from '../pipeline/text-request.js'
import { SILENT_OWNER } from './silent-owner.js'
import type { Client } from 'pg'
import type { RequestOwner } from '../pipeline/request-owner.js'
import type { Backend } from './backend.js'

/** The settings that differ from what the session began with. Those of the user's own making (a.b) are not listed. */
const READ_SETTINGS = `
  SELECT name, pg_catalog.current_setting(name) AS value FROM pg_catalog.pg_settings
  WHERE source = 'session' AND context IN ('user', 'superuser')
    AND name NOT IN ('role', 'session_authorization') AND name NOT LIKE 'transaction\\_%'
  UNION
  SELECT name, pg_catalog.current_setting(name, true) FROM pg_catalog.unnest($1::text[]) AS name
  WHERE pg_catalog.current_setting(name, true) IS NOT NULL`

/** Of a reset. */
export const UNLOCK_ALL = 'SELECT pg_catalog.pg_advisory_unlock_all()'

const READ_IDENTITY = `SELECT session_user::text AS login, pg_catalog.current_setting('role') AS role`

/**
 * Reads the state right after `onConnect` and gives the commands that lead back to it, as one text.
 *
 * The login's own identity comes first, since the settings may need its rights; the identity that `onConnect`
 * chose comes last.
 */
export async function readResetText(client: Client, customSettings: readonly string[]): Promise<string> {
  const { rows: settings } = await ask<{ name: string; value: string }>(client, READ_SETTINGS, [
    customSettings,
  ])
  const { rows } = await ask<{ login: string; role: string }>(client, READ_IDENTITY)
  const { login, role } = rows[0]!
  return [
    'CLOSE ALL',
    'SET SESSION AUTHORIZATION DEFAULT',
    'SET ROLE NONE',
    'RESET ALL',
    UNLOCK_ALL,
    'DISCARD TEMP',
    'DISCARD SEQUENCES',
    ...settings.map(setBack),
    ...(login === client.user ? [] : [`SET SESSION AUTHORIZATION ${escapeIdentifier(login)}`]),
    ...(role === 'none' ? [] : [`SET ROLE ${escapeIdentifier(role)}`]),
  ].join('; ')
}

function setBack({ name, value }: { name: string; value: string }): string {
  return `SELECT pg_catalog.set_config(${escapeLiteral(name)}, ${escapeLiteral(value)}, false)`
}

/** The commands on their way; a backend that they did not bring back is lost at once. */
export class ResetRequest extends TextRequest {
  constructor(backend: Pick<Backend, 'lose'>, text: string, limitMillis = 0) {
    const part = { text, rowMode: undefined, types: undefined }
    super(resetOwner(backend), part, { ...TRAITS, endsTransaction: true, limitMillis })
  }

  protected override encode(sender: Sender): void {
    sender.prepared.reset()
    super.encode(sender)
  }
}

function resetOwner(backend: Pick<Backend, 'lose'>): RequestOwner {
  return {
    ...SILENT_OWNER,
    onAnswered: ({ error }, status) => {
      if (error !== null)
        backend.lose(new Error(`the session reset failed: ${error.message}`, { cause: error }))
      else if (status !== 'idle') backend.lose(new Error('the session reset did not leave the session idle'))
    },
  }
}

/** Listens to what `onConnect` sends: the server does not list settings such as `app.tenant`, so they are asked for. */
export class CustomSettingNames {
  readonly #names = new Set<string>()

  get names(): string[] {
    return [...this.#names]
  }

  /** Calls `work` while it listens to `client`. */
  async during(client: Client, work: () => Promise<void>): Promise<void> {
    const query = client.query.bind(client) as (...given: unknown[]) => unknown
    client.query = ((...given: unknown[]) => {
      for (const text of textsOf(given)) this.#note(text)
      return query(...given)
    }) as Client['query']
    try {
      await work()
    } finally {
      // What lies on the prototype is pg's own again.
      delete (client as Partial<Client>).query
    }
  }

  #note(text: string): void {
    // Each match takes all that it can and none fails late, so that long texts take time in proportion only.
    for (const [words] of text.matchAll(/[\w$\x80-\uffff]+(?:\.[\w$\x80-\uffff]+)*/g)) {
      if (words.includes('.')) this.#names.add(words)
    }
  }
}

/** Every text among a query's arguments: a setting's name may be a value. */
function textsOf(given: readonly unknown[]): string[] {
  const all = given.flatMap((argument): unknown[] => {
    if (typeof argument === 'string') return [argument]
    if (Array.isArray(argument)) return argument
    const { text, values } = (argument ?? {}) as { text?: unknown; values?: unknown }
    return Array.isArray(values) ? [text, ...(values as unknown[])] : [text]
  })
  return all.filter((text) => typeof text === 'string')
}
