import type { EmbeddedSocket } from './embedded-socket.js'
import type { PGliteDatabase } from './index.js'

/** Why a start-up is refused, by a SQLSTATE. */
function refusal(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}

/** What DISCARD ALL does, but for UNLISTEN: PGlite's own listen() would hear nothing any more. */
const CLEAN = `
  CLOSE ALL; RESET ALL; DEALLOCATE ALL; SELECT pg_advisory_unlock_all();
  DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES`

const IDENTITY =
  "SELECT session_user::text AS login, current_setting('role') AS role, pg_backend_pid() AS pid"

type Identity = { readonly login: string; readonly role: string; readonly pid: number }

/**
 * PGlite is one session. A stream has it for itself from its start-up until it is gone and its transaction rolled
 * back; and while its transaction is open, PGlite's own callers wait.
 */
export class SessionLock {
  readonly #db: PGliteDatabase
  #occupant: EmbeddedSocket | null = null
  /** Who PGlite's owner was before any stream came, and the server process that PGlite says it is. */
  #identity: Identity | null = null
  /** Lets PGlite's own callers in again; null while they are not kept out. */
  #release: (() => void) | null = null

  constructor(db: PGliteDatabase) {
    this.#db = db
  }

  /** Takes the session. Throws a refusal, or what PostgreSQL says of the settings. */
  async take(occupant: EmbeddedSocket, settings: ReadonlyMap<string, string>): Promise<void> {
    while (this.#occupant?.destroyed) await this.#occupant.gone
    if (this.#occupant !== null) {
      throw refusal('53300', 'PGlite is one session, and another connection has it: close that first')
    }
    this.#occupant = occupant
    await this.#db.waitReady
    this.#refuseClosed()
    this.#identity ??= (await this.#db.query<Identity>(IDENTITY)).rows[0]!
    for (const [name, value] of startupSettings(settings)) {
      await this.#db.query('SELECT set_config($1, $2, false)', [name, value])
    }
  }

  #refuseClosed(): void {
    if (this.#db.closed) throw refusal('08004', 'PGlite is closed')
  }

  get processID(): number {
    return this.#identity?.pid ?? 0
  }

  /** Runs messages and gives the answer. The session stays this occupant's until it is idle again. */
  async run(bytes: Uint8Array, ends: boolean): Promise<Buffer[]> {
    await this.#hold()
    this.#refuseClosed()
    const answer: Buffer[] = []
    // PGlite lends its memory for the duration of the call.
    const onRawData = (data: Uint8Array): void => void answer.push(Buffer.from(data))
    await this.#db.runExclusive(() => this.#db.execProtocolRawStream(bytes, { syncToFs: false, onRawData }))
    if (ends && !this.#db.isInTransaction()) {
      this.#letGo()
      await this.#db.syncToFs()
    }
    return answer
  }

  /** Waits until PGlite's own callers have ended their transaction, and has them wait for ours. */
  #hold(): Promise<void> {
    if (this.#release !== null) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const hold = (release: () => void): void => {
        this.#release = release
        resolve()
      }
      this.#db._runExclusiveTransaction(() => new Promise<void>(hold)).catch(reject)
    })
  }

  #letGo(): void {
    this.#release?.()
    this.#release = null
  }

  /**
   * Ends an occupant's use, and leaves a session as clean as a new one behind: for the next, and for PGlite's own
   * callers. Never rejects.
   */
  async leave(occupant: EmbeddedSocket): Promise<void> {
    if (this.#occupant !== occupant) return
    try {
      // A Sync ends what a cursor had begun outside of a transaction, too.
      if (this.#release !== null) await this.run(SYNC, true)
      if (this.#release !== null) await this.run(ROLLBACK, true)
      this.#letGo()
      await this.#clean()
    } catch {
      // PGlite is closed or broken, which the next start-up is told.
    } finally {
      this.#letGo()
      this.#occupant = null
    }
  }

  async #clean(): Promise<void> {
    if (this.#identity === null) return
    const { login, role } = this.#identity
    await this.#db.exec(CLEAN)
    // In its single-user mode PostgreSQL knows no default for the first.
    await this.#db.query("SELECT set_config('session_authorization', $1, false)", [login])
    await this.#db.query("SELECT set_config('role', $1, false)", [role])
  }
}

const SYNC = Buffer.from('S\0\0\0\x04', 'latin1')
const ROLLBACK = Buffer.from('Q\0\0\0\rROLLBACK\0', 'latin1')

/** Not settings: PGlite has one user and one database. */
const NO_SETTINGS = new Set(['user', 'database', 'replication', 'options'])

/** The settings in a start-up packet, those in its `options` first. Throws for options that are no settings. */
function startupSettings(given: ReadonlyMap<string, string>): [name: string, value: string][] {
  const others = [...given].filter(([name]) => !NO_SETTINGS.has(name) && !name.startsWith('_pq_.'))
  return [...readOptions(given.get('options') ?? ''), ...others]
}

/** `-c name=value` and `--name=value`; a backslash takes the next character as it is. */
function readOptions(text: string): [string, string][] {
  const words = text.match(/(?:\\.|[^\s\\])+/g)?.map((word) => word.replace(/\\(.)/g, '$1')) ?? []
  const settings: [string, string][] = []
  while (words.length > 0) {
    const word = words.shift()!
    const assignment = word === '-c' ? words.shift() : /^(?:-c|--)(.+)$/.exec(word)?.[1]
    const parts = /^([^=]+)=(.*)$/s.exec(assignment ?? '')
    if (parts === null) throw new Error(`PGlite takes settings only in "options" (-c name=value): ${word}`)
    settings.push([parts[1]!.replaceAll('-', '_'), parts[2]!])
  }
  return settings
}
