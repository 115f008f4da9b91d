/** The one transaction that a sandbox is: savepoints on the lease of the manager's that it holds. */
import { randomBytes } from 'node:crypto'
import { sqlState } from '../lease/failures.js'
import { ownCall } from './texts.js'
import type { QueryResult } from 'pg'
import type { Lease } from '../api/ports.js'

/** Random, so that nothing in a text of the user's can name one of them. */
const PREFIX = `pgmc_${randomBytes(6).toString('hex')}_sandbox`

/**
 * What COMMIT does beside storing: it closes cursors, and each constraint is as it was declared again. Those that are
 * initially immediate have to be named, because ALL DEFERRED has deferred them, too.
 */
const AFTER_COMMIT = `SET CONSTRAINTS ALL DEFERRED; DO $pgmc$
DECLARE one text; names text;
BEGIN
  SELECT string_agg(format('%I.%I', n.nspname, c.conname), ', ') INTO names
    FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
    WHERE c.condeferrable AND NOT c.condeferred AND has_schema_privilege(n.oid, 'USAGE');
  IF names IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || names || ' IMMEDIATE'; END IF;
  FOREACH one IN ARRAY coalesce((SELECT array_agg(name) FROM pg_catalog.pg_cursors
      WHERE NOT is_holdable AND name <> '' AND name NOT LIKE '<unnamed%'), '{}')
  LOOP EXECUTE format('CLOSE %I', one); END LOOP;
END $pgmc$`

export class SandboxSession {
  readonly base: Lease
  isolationLevel = 'read committed'
  #savepoints = 0
  #mark = ''

  constructor(base: Lease) {
    this.base = base
  }

  async open(begin: string): Promise<void> {
    await this.send(begin)
    const { rows } = await this.send("SELECT current_setting('transaction_isolation') AS level")
    this.isolationLevel = (rows[0] as { level: string }).level
    await this.mark()
  }

  send(text: string): Promise<QueryResult> {
    return this.base.query(ownCall(text), null)
  }

  async mark(): Promise<void> {
    this.#mark = await this.savepoint()
  }

  async reset(): Promise<void> {
    await this.send(`ROLLBACK TO SAVEPOINT ${this.#mark}`)
  }

  async savepoint(): Promise<string> {
    const name = `${PREFIX}_${++this.#savepoints}`
    await this.send(`SAVEPOINT ${name}`)
    return name
  }

  /** Does what a COMMIT would. False where the transaction had failed, so that it was rolled back. */
  async commit(name: string, locals: ReadonlyMap<string, string>): Promise<boolean> {
    try {
      // What deferred triggers write has to stay, so they run in the transaction's own savepoint.
      await this.send(`SET CONSTRAINTS ALL IMMEDIATE; RELEASE SAVEPOINT ${name}`)
    } catch (error) {
      await this.rollBack(name)
      if (sqlState(error) === '25P02') return false
      throw error
    }
    // The role comes first: it may not set back what the login may.
    for (const [setting, value] of [...locals].reverse()) await this.send(setText(setting, value))
    await this.send(AFTER_COMMIT)
    return true
  }

  async rollBack(name: string): Promise<void> {
    if (this.base.refusal() !== null) return
    await this.send(`ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`)
  }

  /** What a setting is now, so that SET LOCAL can be taken back. */
  async settingOf(name: string): Promise<string> {
    const { rows } = await this.send(`SELECT coalesce(current_setting(${quote(name)}, true), '') AS value`)
    return (rows[0] as { value: string }).value
  }
}

function setText(name: string, value: string): string {
  return `SELECT set_config(${quote(name)}, ${quote(value)}, false)`
}

function quote(value: string): string {
  return `E'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
