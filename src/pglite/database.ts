/** What is used of a PGlite, so that its types need not be installed where it is not used. */

/** A PGlite, as `@electric-sql/pglite` makes it. */
export interface PGliteDatabase {
  readonly waitReady: Promise<void>
  readonly closed: boolean
  /** Runs whole messages of the wire protocol, at once and on this thread. */
  execProtocolRawStream(
    message: Uint8Array,
    options: { syncToFs?: boolean; onRawData: (data: Uint8Array) => void },
  ): Promise<void>
  syncToFs(): Promise<void>
  isInTransaction(): boolean
  exec(text: string): Promise<unknown>
  query<T>(text: string, values?: unknown[]): Promise<{ rows: T[] }>
  /** Nobody else's message runs meanwhile. */
  runExclusive<T>(work: () => Promise<T>): Promise<T>
  /** Nobody else's statement or transaction does. PGlite's own calls go through it, too. */
  _runExclusiveTransaction<T>(work: () => Promise<T>): Promise<T>
  onNotification(listener: (channel: string, payload: string) => void): () => void
}

const USED = ['execProtocolRawStream', 'isInTransaction', 'runExclusive', '_runExclusiveTransaction'] as const

/** Checks that it is one. Throws a TypeError that says what it takes. */
export function checkDatabase(db: PGliteDatabase): void {
  const members = (db ?? {}) as Partial<PGliteDatabase>
  if (USED.every((name) => typeof members[name] === 'function')) return
  throw new TypeError('pgliteStream() takes a PGlite (of @electric-sql/pglite 0.4 or later)')
}
