/**
 * PGlite is one session. Whoever speaks to it over a stream has the only seat, from its start-up until it is gone
 * and its transaction rolled back; and while its transaction is open, PGlite's own callers wait.
 */
import { startupSettings } from './startup-settings.js'
import type { PGliteDatabase } from './database.js'

/** Whoever sits: a stream. */
export interface Occupant {
  readonly destroyed: boolean
  /** Resolves when it has left. */
  readonly gone: Promise<void>
}

/** Why a start-up is refused. */
export class LockRefusal extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** What DISCARD ALL does, but for UNLISTEN: PGlite's own listen() would hear nothing any more. */
const CLEAN = `
  CLOSE ALL; RESET ALL; DEALLOCATE ALL; SELECT pg_advisory_unlock_all();
  DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES`

export class SessionLock {
  readonly #db: PGliteDatabase
  #occupant: Occupant | null = null
  /** Who PGlite's owner was before any stream came. */
  #identity: { login: string; role: string } | null = null
  #release: (() => void) | null = null
  /** The server process that PGlite says it is. */
  #processID = 0

  constructor(db: PGliteDatabase) {
    this.#db = db
  }

  /** Takes the seat. @throws SeatRefusal, or what PostgreSQL says */
  async take(occupant: Occupant, settings: ReadonlyMap<string, string>): Promise<void> {
    while (this.#occupant?.destroyed) await this.#occupant.gone
    if (this.#occupant !== null) {
      throw new LockRefusal('53300', 'PGlite is one session, and another connection has it: close that first')
    }
    this.#occupant = occupant
    await this.#db.waitReady
    this.refuseClosed()
    await this.#learn()
    for (const [name, value] of startupSettings(settings)) {
      await this.#db.query('SELECT set_config($1, $2, false)', [name, value])
    }
  }

  /** Throws when PGlite was closed. */
  refuseClosed(): void {
    if (this.#db.closed) throw new LockRefusal('08004', 'PGlite is closed')
  }

  async #learn(): Promise<void> {
    if (this.#identity !== null) return
    const { rows } = await this.#db.query<{ login: string; role: string; pid: number }>(
      "SELECT session_user::text AS login, current_setting('role') AS role, pg_backend_pid() AS pid",
    )
    this.#identity = rows[0]!
    this.#processID = rows[0]!.pid
  }

  get processID(): number {
    return this.#processID
  }

  /** Runs messages and gives the answer. The session stays this occupant's until it is idle again. */
  async run(bytes: Uint8Array, ends: boolean): Promise<Buffer[]> {
    await this.#hold()
    this.refuseClosed()
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
      const held = (): Promise<void> =>
        new Promise((release) => {
          this.#release = release
          resolve()
        })
      this.#db._runExclusiveTransaction(held).catch(reject)
    })
  }

  #letGo(): void {
    this.#release?.()
    this.#release = null
  }

  /**
   * Gets up, if it was this one that sat, and leaves a session as clean as a new one behind: for the next, and for
   * PGlite's own callers. Never rejects.
   */
  async leave(occupant: Occupant): Promise<void> {
    if (this.#occupant !== occupant) return
    try {
      if (this.#release !== null) await this.#rollBack()
      this.#letGo()
      await this.#clean()
    } catch {
      // PGlite is closed or broken: whoever comes next is told.
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

  async #rollBack(): Promise<void> {
    // A Sync ends what a cursor had begun outside of a transaction, too.
    await this.run(SYNC, true)
    if (this.#release !== null) await this.run(ROLLBACK, true)
  }
}

const SYNC = Buffer.from([0x53, 0, 0, 0, 4])
const ROLLBACK = Buffer.from('Q\0\0\0\rROLLBACK\0', 'latin1')
