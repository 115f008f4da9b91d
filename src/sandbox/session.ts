/** The one transaction that a sandbox is: savepoints on the lease of the manager's that it holds. */
import { randomBytes } from 'node:crypto'
import { sqlState } from '../lease/failures.js'
import { isFromServer } from '../util/thrown.js'
import { SandboxError } from './error.js'
import { SandboxSettings, quote } from './settings.js'
import { ownCall } from './texts.js'
import type { QueryResult } from 'pg'
import type { Lease } from '../api/ports.js'
import type { TemporaryTable } from './set-texts.js'

/** Random, so that nothing in a text of the user's can name one of them. */
const PREFIX = `pgmc_${randomBytes(6).toString('hex')}_sandbox`

/**
 * What COMMIT does beside storing: it closes cursors, and each constraint is as it was declared again. Those that are
 * initially immediate have to be named, because ALL DEFERRED has deferred them, too.
 */
const LIKE_COMMIT = `SET CONSTRAINTS ALL DEFERRED; DO $pgmc$
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

/** Empties or drops temporary tables, if they are still there. */
function forTables(verb: 'TRUNCATE' | 'DROP TABLE', oids: readonly number[], rest = ''): string {
  return `DO $pgmc$ DECLARE names text;
BEGIN
  SELECT string_agg(oid::regclass::text, ', ') INTO names FROM pg_catalog.pg_class WHERE oid IN (${oids.join(', ')});
  IF names IS NOT NULL THEN EXECUTE '${verb} ' || names || '${rest}'; END IF;
END $pgmc$`
}

/** What is to be put back where a transaction commits. */
export interface Changes {
  /** Settings that were set for the session. */
  readonly session: ReadonlySet<string>
  /** What was set for the session before SET LOCAL. */
  readonly locals: ReadonlyMap<string, string>
}

export class SandboxSession {
  readonly base: Lease
  readonly settings = new SandboxSettings((text) => this.send(text))
  isolationLevel = 'read committed'
  readonly #tables = new Map<number, TemporaryTable['onCommit']>()
  #savepoints = 0
  #mark = ''

  constructor(base: Lease) {
    this.base = base
  }

  async open(begin: string): Promise<void> {
    await this.send(begin)
    const { rows } = await this.send("SELECT current_setting('transaction_isolation') AS level")
    this.isolationLevel = (rows[0] as { level: string }).level
    await this.settings.note()
    await this.settings.noteFunctions()
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
    await this.settings.note()
  }

  async savepoint(): Promise<string> {
    const name = `${PREFIX}_${++this.#savepoints}`
    await this.send(`SAVEPOINT ${name}`)
    return name
  }

  /** Notes a temporary table that was just made. It is known by its number, because another may have its name later. */
  async noteTable({ name, onCommit }: TemporaryTable): Promise<void> {
    const quoted = `pg_temp."${name.replaceAll('"', '""')}"`
    const { rows } = await this.send(`SELECT to_regclass(${quote(quoted)})::oid::bigint::int8::text AS oid`)
    const { oid } = rows[0] as { oid: string | null }
    if (oid !== null) this.#tables.set(Number(oid), onCommit)
  }

  /**
   * Does what a COMMIT would. False where the transaction had failed, so that it was rolled back. Without `changes`
   * it has done nothing but read.
   */
  async commit(name: string, changes: Changes | null): Promise<boolean> {
    try {
      // What deferred triggers write has to stay, so they run in the transaction's own savepoint.
      await this.send(changes === null ? `RELEASE SAVEPOINT ${name}` : 'SET CONSTRAINTS ALL IMMEDIATE')
    } catch (error) {
      await this.rollBack(name)
      if (sqlState(error) === '25P02') return false
      throw error
    }
    if (changes === null) return true
    try {
      await this.#finish(changes)
    } catch (error) {
      await this.rollBack(name)
      if (!isFromServer(error)) throw error
      throw new SandboxError(
        'the sandbox could not do what COMMIT does beside storing, so it was rolled back',
        error,
      )
    }
    await this.send(`RELEASE SAVEPOINT ${name}`)
    return true
  }

  async #finish({ session, locals }: Changes): Promise<void> {
    const restoring = await this.settings.restoring(session, locals)
    const numbers = (wanted: TemporaryTable['onCommit']): number[] =>
      [...this.#tables].filter(([, onCommit]) => onCommit === wanted).map(([oid]) => oid)
    const [emptied, dropped] = [numbers('delete rows'), numbers('drop')]
    const commands = [...restoring, LIKE_COMMIT]
    if (emptied.length > 0) commands.push(forTables('TRUNCATE', emptied))
    if (dropped.length > 0) commands.push(forTables('DROP TABLE', dropped, ' CASCADE'))
    for (const oid of dropped) this.#tables.delete(oid)
    await this.send(commands.join('; '))
  }

  async rollBack(name: string): Promise<void> {
    if (this.base.refusal() !== null) return
    await this.send(`ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`)
  }

  /** Throws what the server says where there is no transaction, by having it say so. */
  async refuseOutside(statement: string): Promise<never> {
    const message = `${statement} can only be used in transaction blocks`
    await this.send(
      `DO $pgmc$ BEGIN RAISE EXCEPTION USING ERRCODE = '25P01', MESSAGE = '${message}'; END $pgmc$`,
    )
    throw new Error(`BUG: ${message}`)
  }
}
