/**
 * The model of the server's session answers as the server does: the same random messages are sent to both, and
 * every message that comes back is compared. Without this, what the model proves would prove nothing.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { serialize } from 'pg-protocol'
import { connectTo } from '../support/address.js'
import { ModelDatabase } from '../support/model/model-database.js'
import { ModelSession } from '../support/model/model-session.js'
import { Random } from '../support/random.js'
import { openSuite } from '../support/suite.js'
import { BackendParser, describe, FrontendParser, type WireMessage } from '../support/wire.js'
import { within } from '../support/wait.js'

const { test, database } = await openSuite()
await database.admin
  .query(`CREATE TABLE rows (id int); CREATE TABLE failing (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
  INSERT INTO failing VALUES (1); CREATE TABLE receipts (id int PRIMARY KEY)`)

const SESSIONS = Number(process.env['MODEL_SESSIONS'] || 60)
const SEED = Number(process.env['MODEL_SEED'] || Math.floor(Math.random() * 2 ** 31))

/** What the library and the programs send. */
const TEXTS = [
  'BEGIN',
  'BEGIN READ WRITE',
  'COMMIT',
  'COMMIT',
  'ROLLBACK',
  'SAVEPOINT a',
  'SAVEPOINT b',
  'RELEASE SAVEPOINT a',
  'ROLLBACK TO SAVEPOINT a',
  'ROLLBACK TO SAVEPOINT b',
  'INSERT INTO rows VALUES ($1)',
  'INSERT INTO rows VALUES ($1)',
  'INSERT INTO rows VALUES ($1)',
  'INSERT INTO failing VALUES (1)',
  'SELECT 1/0',
  'SELECT 1',
  `SELECT coalesce(current_setting('app.mark', true), '') AS mark`,
  `SELECT set_config('app.mark', $1, true)`,
  'DEALLOCATE ALL',
  'SET LOCAL synchronous_commit TO off',
  'INSERT INTO receipts (id) VALUES ($1)',
  'SELECT pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text AS answer',
  'SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text AS answer',
  `SELECT pg_catalog.set_config('client_min_messages', 'warning', true),
     pg_catalog.pg_logical_emit_message(true, 'pg-managed-connection', '')`,
  'BEGIN; INSERT INTO rows VALUES (7)',
  '',
]
const SIMPLE_TEXTS = [
  ...TEXTS.filter((text) => !text.includes('$1')),
  'SELECT 1; SELECT 2',
  'BEGIN; INSERT INTO rows VALUES (8); COMMIT',
  'INSERT INTO rows VALUES (9); SELECT 1/0',
  'INSERT INTO rows VALUES (10); COMMIT; INSERT INTO rows VALUES (11)',
  'ROLLBACK; BEGIN',
]

/** One statement by the extended protocol, named now and then. */
function statement(random: Random): Buffer[] {
  const text = random.pick(TEXTS)
  const name = random.chance(0.3) ? random.pick(['p', 'q']) : ''
  const values = text.includes('$1') ? [String(random.below(700))] : []
  const parts: Buffer[] = []
  if (name === '' || random.chance(0.6)) parts.push(serialize.parse({ name, text, types: [] }))
  parts.push(serialize.bind({ portal: '', statement: name, values, binary: false }))
  if (random.chance(0.6)) parts.push(serialize.describe({ type: 'P', name: '' }))
  parts.push(serialize.execute({ portal: '', rows: 0 }))
  if (random.chance(0.15)) parts.push(serialize.close({ type: 'S', name: 'p' }))
  if (random.chance(0.3)) parts.push(serialize.flush())
  return parts
}

/** What is answered by one ReadyForQuery. */
function group(random: Random): Buffer {
  if (random.chance(0.2)) return serialize.query(random.pick(SIMPLE_TEXTS))
  const parts: Buffer[] = []
  for (let n = random.below(4); n > 0; n--) parts.push(...statement(random))
  return Buffer.concat([...parts, serialize.sync()])
}

/** Numbers that the server gives as it likes: places in its log, and ids of transactions, which begin above 700. */
const ARBITRARY = /\b\d+\/[0-9A-F]+$|\b(?:[7-9]\d\d|\d{4,})$/

/** As far as the model goes: texts of errors, types of columns and rows' binary forms are the server's own affair. */
function shown(message: WireMessage): string {
  const { name, payload } = message
  return name === 'DataRow'
    ? `DataRow ${cellsOf(payload).join(' ')}`.replace(ARBITRARY, '#')
    : describe(message)
}

function cellsOf(payload: Buffer): string[] {
  const cells: string[] = []
  for (let at = 2; at < payload.length;) {
    const length = payload.readInt32BE(at)
    const end = at + 4 + Math.max(0, length)
    cells.push(length < 0 ? 'NULL' : payload.toString('utf8', at + 4, end))
    at = end
  }
  return cells
}

class RawSession {
  readonly #socket: Socket
  readonly #parser = new BackendParser()
  #messages: string[] = []
  #ready: (() => void) | null = null

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      for (const message of this.#parser.push(chunk)) {
        this.#messages.push(shown(message))
        if (message.name === 'ReadyForQuery') this.#ready?.()
      }
    })
  }

  /** What is answered, up to ReadyForQuery. */
  async ask(bytes: Buffer): Promise<string[]> {
    const ready = new Promise<void>((resolve) => (this.#ready = resolve))
    this.#socket.write(bytes)
    await within(ready, 'ReadyForQuery')
    const messages = this.#messages
    this.#messages = []
    return messages
  }

  async end(): Promise<void> {
    this.#socket.end(serialize.end())
    await once(this.#socket, 'close')
  }
}

function askModel(session: ModelSession, parser: FrontendParser, bytes: Buffer): string[] {
  for (const message of parser.push(bytes)) session.receive(message)
  const answer = new BackendParser().push(Buffer.concat(session.output))
  session.output.length = 0
  return answer.map(shown)
}

// Servers before 18 warn of SET LOCAL in a pipeline, too, though it has an effect there.
const warnsInPipelines = (await database.admin.serverVersion()) < 180_000
const left = warnsInPipelines
  ? /^(?:ParameterStatus|NoticeResponse (?:00000|25P01))/
  : /^(?:ParameterStatus|NoticeResponse 00000)/

/** Without what does not depend on the model: the settings that the server reports. */
function withoutStatus(messages: readonly string[]): string[] {
  return messages.filter((message) => !left.test(message))
}

test('the model answers as the server does, whatever it is sent', async (t) => {
  t.diagnostic(`MODEL_SEED=${SEED}`)
  let messages = 0
  for (let seed = SEED; seed < SEED + SESSIONS; seed++) {
    await database.admin.query('TRUNCATE rows, receipts')
    const random = new Random(seed)
    const real = new RawSession(connectTo(database.login))
    const store = new ModelDatabase()
    const model = new ModelSession(store)
    const parser = new FrontendParser()
    const startup = serialize.startup({ user: database.login.user, database: database.name })
    await real.ask(startup)
    askModel(model, parser, startup)
    const sent: string[] = []
    for (let n = 0; n < 30; n++) {
      const bytes = group(random)
      sent.push(bytes.toString('latin1').replace(/[^ -~]+/g, ' '))
      const expected = withoutStatus(await real.ask(bytes))
      const got = withoutStatus(askModel(model, parser, bytes))
      assert.deepEqual(got, expected, `MODEL_SEED=${seed}, after ${sent.join('\n')}`)
      messages += got.length
    }
    await real.end()
    const stored = await database.admin.rows<{ id: number }>('SELECT id FROM rows')
    assert.deepEqual(
      store.rows,
      stored.map(({ id }) => id),
      `MODEL_SEED=${seed}`,
    )
  }
  t.diagnostic(`${messages} messages compared`)
})
