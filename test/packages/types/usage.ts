/** What users write, for the compiler alone: it has to accept this, and refuse what is marked. */
import type { Duplex } from 'node:stream'
import type { PGlite } from '@electric-sql/pglite'
import type pg from 'pg'
import {
  ManagedConnection,
  type Connection,
  type ManagedConnectionOptions,
  type Manager,
  type Notification,
  type Subscription,
} from 'pg-managed-connection'
import type { parseConninfo } from 'pg-managed-connection/conninfo'
import { lead, type LeadershipLostError } from 'pg-managed-connection/leader'
import { instrument } from 'pg-managed-connection/otel'
import { pgliteStream } from 'pg-managed-connection/pglite'
import { asPool } from 'pg-managed-connection/pool'
import { record, type Timeline, type TraceEvents } from 'pg-managed-connection/timeline'

/** Holds only where both are the same type. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function same<A, B>(_is: Same<A, B>): void {}

interface Account {
  id: number
  owner: string
}

export async function aBatchHasAResultForEachOfItsStatements(
  manager: Manager,
  many: string[],
): Promise<void> {
  const both = await manager.batch(['SELECT 1', { text: 'SELECT 2', rowMode: 'array' }])
  same<(typeof both)['length'], 2>(true)
  same<(typeof both)[0], pg.QueryResult>(true)
  same<(typeof both)[1], pg.QueryArrayResult>(true)
  const all = await manager.batch(many)
  same<(typeof all)[number], pg.QueryResult>(true)
}

export const setUpAsItComes: ManagedConnectionOptions = { onConnect: (client) => client.query('SELECT 1') }

export async function rowsHaveTheTypeThatIsAskedFor(manager: Manager, connection: Connection): Promise<void> {
  const typed = await manager.query<Account>('SELECT * FROM accounts WHERE id = $1', [1])
  same<typeof typed, pg.QueryResult<Account>>(true)
  same<(typeof typed.rows)[0], Account>(true)
  const values = await connection.query<Account, [number]>('SELECT $1', [1])
  same<typeof values.rows, Account[]>(true)
  const arrays = await connection.query<[number, string]>({ text: 'SELECT 1', rowMode: 'array' })
  same<typeof arrays, pg.QueryArrayResult<[number, string]>>(true)
  const loose = await manager.query('SELECT 1')
  // oxlint-disable-next-line typescript/no-explicit-any -- as in @types/pg
  same<typeof loose.rows, any[]>(true)
  const limited = await manager.query<Account>({
    text: 'SELECT 1',
    timeoutMillis: 5,
    signal: AbortSignal.timeout(5),
  })
  same<typeof limited.rows, Account[]>(true)
  for await (const row of connection.stream<Account>('SELECT 1')) same<typeof row, Account>(true)
  // @ts-expect-error: a column that is not there
  void typed.rows[0]!.balance
  // @ts-expect-error: values are a list
  await connection.query('SELECT $1', 1)
}

export async function whatWorkReturnsComesBack(manager: ManagedConnection): Promise<void> {
  const one = await manager.use(() => 1)
  same<typeof one, number>(true)
  const text = await manager.transaction(async () => 'text')
  same<typeof text, string>(true)
  const nested = await manager.use((connection) => connection.transaction(async () => true))
  same<typeof nested, boolean>(true)
  const maybe = await manager.tryAcquire()
  same<typeof maybe, Connection | null>(true)
  // @ts-expect-error: transaction() takes no autocommit
  await manager.transaction(async () => {}, { autocommit: true })
  // @ts-expect-error: levels are a closed list
  await manager.transaction(async () => {}, { isolationLevel: 'strict' })
}

export async function notificationsAreOneOfTwo(manager: Manager): Promise<void> {
  const subscription = await manager.listen('jobs')
  same<typeof subscription, Subscription>(true)
  for await (const notification of subscription) {
    same<typeof notification, Notification>(true)
    // @ts-expect-error: a gap has no payload
    void notification.payload
    if (notification.type === 'gap') continue
    same<typeof notification.payload, string>(true)
    same<typeof notification.processID, number>(true)
  }
}

export function absentAndUndefinedAreTheSameInOptions(limit: number | undefined): void {
  const options: ManagedConnectionOptions = { maxWaiting: limit, onConnect: undefined }
  new ManagedConnection('postgres:///bank', options)
  new ManagedConnection({ host: undefined, port: 5432 }, { autocommit: true })
  // @ts-expect-error: no such option
  new ManagedConnection('postgres:///bank', { max: 10 })
  // @ts-expect-error: options are read only
  options.maxWaiting = 3
}

export async function thePoolIsOneOfPgs(manager: Manager): Promise<void> {
  const pool: pg.Pool = asPool(manager, { strict: true })
  const client: pg.PoolClient = await pool.connect()
  same<ReturnType<typeof client.release>, void>(true)
  const { rows } = await pool.query<Account>('SELECT 1')
  same<typeof rows, Account[]>(true)
  asPool(manager).on('leak', ({ statement }) => same<typeof statement, string | null>(true))
  // @ts-expect-error: no such option
  asPool(manager, { max: 3 })
}

export function theOthers(manager: ManagedConnection, db: PGlite): void {
  same<ReturnType<typeof parseConninfo>, Record<string, string>>(true)
  const stream: () => Duplex = pgliteStream(db)
  new ManagedConnection({ stream })
  const stop = instrument(manager, { name: 'bank' })
  same<ReturnType<typeof stop>, void>(true)
  const timeline: Timeline = record(manager, { capacity: 100 })
  const trace: TraceEvents = timeline.toTraceEvents()
  same<(typeof trace.traceEvents)[number]['ts'], number>(true)
  // @ts-expect-error: its capacity is a number
  record(manager, { capacity: 'large' })
  // @ts-expect-error: a database, not its stream
  pgliteStream(stream)
}

export function eventsHaveTheirArguments(manager: ManagedConnection): void {
  manager.on('release', ({ heldMillis }) => same<typeof heldMillis, number>(true))
  manager.on('disconnect', (error) => same<typeof error, Error | undefined>(true))
}

export async function whoLeadsIsGivenASignalAndAnEpoch(manager: Manager): Promise<void> {
  const led = await lead(manager, 'jobs', async ({ signal, epoch }) => {
    same<typeof signal, AbortSignal>(true)
    same<typeof epoch, bigint>(true)
    const { code, leadership }: LeadershipLostError = signal.reason
    same<typeof code, 'ERR_LEADERSHIP_LOST'>(true)
    same<typeof leadership, string>(true)
  })
  same<typeof led, void>(true)
  await lead(manager, 'jobs', () => 'not a promise', { retryMillis: 500, signal: AbortSignal.timeout(5) })
  // @ts-expect-error: an option that is not there
  await lead(manager, 'jobs', () => {}, { timeoutMillis: 5 })
}
