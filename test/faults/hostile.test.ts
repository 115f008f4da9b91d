/**
 * What a server may say that no server says: every promise settles with a clear error, nothing crashes, nothing hangs, nobody is
 * handed a session that is not idle, and the manager works again as soon as the server does. HOSTILE_SEED repeats a run as
 * far as time allows; HOSTILE_MS says how long to mutate.
 */
import assert from 'node:assert/strict'
import pg from 'pg'
import {
  ManagedConnection,
  ManagedConnectionError,
  type ManagedConnectionOptions,
} from 'pg-managed-connection'
import { outcome } from '../support/caught.js'
import { backend, int16, int32, message } from '../support/backend-messages.js'
import { conninfoThrough } from '../support/proxied.js'
import { startProxy } from '../support/proxy.js'
import { answerWell, LOGIN, startRawServer, type RawPeer, type Script } from '../support/raw-server.js'
import { Random } from '../support/random.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()

const HOSTILE_MILLIS = Number(process.env['HOSTILE_MS'] || 5_000)
const SEED = Number(process.env['HOSTILE_SEED'] || Math.floor(Math.random() * 2 ** 31))

const LIMITS: ManagedConnectionOptions = {
  acquireTimeoutMillis: 400,
  statementTimeoutMillis: 100,
  reconnectTimeoutMillis: 300,
  releaseGraceMillis: 100,
}

type Answer = readonly Buffer[] | ((peer: RawPeer) => void)

/** A server that answers well until the third Sync or the like of a connection, and then says something else. */
function lyingAt(name: string, answer: Answer): { script: Script; mend: () => void } {
  let lying = true
  const script: Script = (received, peer) => {
    if (!lying || received.name !== name) return answerWell(received, peer)
    if (typeof answer === 'function') answer(peer)
    else peer.send(...answer)
  }
  return { script, mend: () => (lying = false) }
}

const huge = (letter: string, length: number): Buffer =>
  Buffer.concat([Buffer.from(letter, 'latin1'), int32(length)])
const unterminated = (letter: string): Buffer => message(letter, Buffer.from('SERROR\0C22012\0Mno end'))
const ok = (letter: string): Buffer[] => [backend.commandComplete('SELECT 0'), backend.readyForQuery(letter)]

/** What the server says in place of an answer, and to what. */
const LIES: readonly (readonly [lie: string, to: string, answer: Answer])[] = [
  ['a message of 2 GiB', 'Execute', [huge('D', 0x7fffffff)]],
  ['a message of 4 GiB', 'Execute', [huge('D', -1)]],
  ['an authentication of 1 GiB', 'Startup', [huge('R', 0x3fffffff)]],
  ['a CommandComplete of 100 MiB', 'Execute', [huge('C', 100 * 2 ** 20)]],
  ['a message shorter than its own length', 'Execute', [huge('C', 3), huge('C', 0)]],
  ['a message of an unknown type', 'Execute', [message('?', 'what')]],
  ['an error without an end', 'Execute', [unterminated('E')]],
  ['an error without anything', 'Execute', [message('E')]],
  ['a notice without an end', 'Execute', [unterminated('N')]],
  ['an error without an end at the login', 'Startup', [unterminated('E')]],
  ['bytes that are no message', 'Execute', [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')]],
  ['bytes that are no message at the login', 'Startup', [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')]],
  ['a ReadyForQuery of an unknown status', 'Sync', [backend.readyForQuery('X')]],
  ['a ReadyForQuery without a status', 'Sync', [message('Z')]],
  ['a second ReadyForQuery', 'Sync', [backend.readyForQuery('I'), backend.readyForQuery('I')]],
  ['ReadyForQuery in place of an answer', 'Execute', [backend.readyForQuery('I')]],
  ['an open transaction after one statement', 'Sync', [backend.readyForQuery('T')]],
  ['a failed transaction after one statement', 'Sync', [backend.readyForQuery('E')]],
  [
    'a session that begins inside a transaction',
    'Startup',
    [...LOGIN.slice(0, 3), backend.readyForQuery('T')],
  ],
  [
    'a session that begins in a failed transaction',
    'Startup',
    [...LOGIN.slice(0, 3), backend.readyForQuery('E')],
  ],
  [
    'two completions of one statement',
    'Execute',
    [backend.commandComplete('SELECT 0'), backend.commandComplete('SELECT 0')],
  ],
  ['a row without a description', 'Execute', [backend.dataRow(['1']), ...ok('I')]],
  ['a row with too few columns', 'Describe', [backend.rowDescription(['a', 'b']), backend.dataRow(['1'])]],
  ['a row with too many columns', 'Describe', [backend.rowDescription(['a']), backend.dataRow(['1', '2'])]],
  [
    'a row that ends too early',
    'Describe',
    [backend.rowDescription(['a']), message('D', int16(3), int32(4))],
  ],
  ['a row of -7 columns', 'Describe', [backend.rowDescription(['a']), message('D', int16(-7))]],
  ['a description of 30000 columns that are not there', 'Describe', [message('T', int16(30_000))]],
  ['a description of -1 columns', 'Describe', [message('T', int16(-1))]],
  ['a request for the password after the login', 'Execute', [message('R', 3)]],
  ['an authentication that nobody knows', 'Startup', [message('R', 99)]],
  ['SASL without a mechanism', 'Startup', [message('R', 10, Buffer.of(0))]],
  ['SASL continued before it began', 'Startup', [message('R', 11, Buffer.from('r=x,s=y,i=1'))]],
  ['SASL finished before it began', 'Startup', [message('R', 12, Buffer.from('v=x'))]],
  ['MD5 without a salt', 'Startup', [message('R', 5)]],
  ['other keys after the login', 'Execute', [backend.backendKeyData(1, 2)]],
  ['a fatal error', 'Execute', [backend.error('XX000', 'the end', 'FATAL')]],
  ['a panic', 'Sync', [backend.error('XX000', 'the end', 'PANIC')]],
  [
    'an error without a code',
    'Execute',
    [message('E', Buffer.from('SERROR\0Mwhat\0\0')), backend.readyForQuery('I')],
  ],
  ['an error in place of a bind', 'Bind', [backend.error('22000', 'no')]],
  ['an error behind the answer', 'Sync', [backend.error('XX001', 'no'), backend.readyForQuery('I')]],
  ['an error after ReadyForQuery', 'Sync', [backend.readyForQuery('I'), backend.error('XX001', 'no')]],
  ['COPY in place of an answer', 'Execute', [message('G', Buffer.of(0), int16(0))]],
  ['nothing at all', 'Execute', []],
  ['nothing at all at the login', 'Startup', []],
  ['a hang-up', 'Execute', (peer) => void peer.socket.end()],
  ['a reset', 'Execute', (peer) => void peer.socket.resetAndDestroy()],
  ['a suspended portal', 'Execute', [message('s')]],
]

/** Whether an error is one that a caller can make something of. */
function isClear(error: unknown): boolean {
  if (error instanceof ManagedConnectionError) return error.message !== ''
  return error instanceof pg.DatabaseError
}

async function outcomesOf(manager: ManagedConnection): Promise<PromiseSettledResult<unknown>[]> {
  const asked = [
    manager.query('SELECT 1 AS a'),
    manager.transaction((connection) => connection.query('SELECT 2 AS a')),
    manager.use(async (connection) => {
      await connection.query('SELECT 3 AS a')
      await connection.commit()
    }),
    manager.batch(['SELECT 4 AS a', 'SELECT 5 AS a']),
  ]
  return within(Promise.allSettled(asked), 'every promise to settle', 5_000)
}

for (const [lie, to, answer] of LIES) {
  test(`${lie} in answer to ${to} harms nobody for long`, async () => {
    const { script, mend } = lyingAt(to, answer)
    await using server = await startRawServer(script)
    await using manager = new ManagedConnection(server.conninfo, LIMITS)
    let disconnects = 0
    manager.on('disconnect', () => disconnects++)
    const outcomes = await outcomesOf(manager)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected')
        assert.ok(isClear(outcome.reason), String((outcome.reason as Error)?.stack))
    }
    const noticed = (): boolean => disconnects > 0 || outcomes.some(({ status }) => status === 'rejected')
    await until(noticed, { what: 'the lie to be noticed', timeoutMillis: 2_000 })
    assert.ok(process.memoryUsage().arrayBuffers < 100 * 2 ** 20)
    mend()
    await works(manager)
    assert.equal(manager.status, 'idle')
  })
}

/** It may still learn of the last lie. Only a plain statement: the script's honest answers begin no transaction. */
async function works(manager: ManagedConnection): Promise<void> {
  let last: unknown
  const answers = (): Promise<boolean> =>
    manager.query('SELECT').then(
      () => true,
      (error: unknown) => {
        last = error
        return false
      },
    )
  await until(answers, { what: 'the manager to work again', intervalMillis: 1 }).catch((error: Error) => {
    throw new Error(`${error.message}: ${JSON.stringify(manager.stats)}`, { cause: last })
  })
}

test('floods of notices, settings and notifications of others are not kept', async () => {
  const flood = Buffer.concat(
    Array.from({ length: 2_000 }, (_, i) => [
      backend.notice('00000', 'x'.repeat(200), 'NOTICE'),
      backend.parameterStatus(`setting_${i}`, 'x'.repeat(200)),
      backend.notification(1, `channel_${i}`, 'x'.repeat(200)),
    ]).flat(),
  )
  await using server = await startRawServer((received, peer) => {
    if (received.name === 'Execute') peer.send(flood)
    answerWell(received, peer)
  })
  await using manager = new ManagedConnection(server.conninfo)
  await manager.query('SELECT')
  globalThis.gc?.()
  const before = process.memoryUsage().heapUsed
  for (let n = 0; n < 20; n++) await manager.query('SELECT')
  globalThis.gc?.()
  assert.ok(process.memoryUsage().heapUsed - before < 60 * 2 ** 20)
})

test('the callbacks of a transaction that the server lies about are told, and it is not committed', async () => {
  // BEGIN is answered, and ReadyForQuery says that no transaction is open.
  await using server = await startRawServer(answerWell)
  await using manager = new ManagedConnection(server.conninfo, LIMITS)
  await assert.rejects(
    manager.transaction((connection) => connection.query('SELECT 1')),
    isClear,
  )
})

test('a session that is not idle after COMMIT is handed to nobody', async () => {
  // Whatever is asked, a transaction is open.
  await using server = await startRawServer((message, peer) => {
    if (message.name === 'Startup') answerWell(message, peer)
    else if (message.name === 'Query')
      peer.send(backend.commandComplete(message.about), backend.readyForQuery('T'))
    else if (message.name === 'Execute') peer.send(backend.commandComplete('BEGIN'))
    else if (message.name === 'Sync') peer.send(backend.readyForQuery('T'))
    else answerWell(message, peer)
  })
  await using manager = new ManagedConnection(server.conninfo, LIMITS)
  await manager.transaction((connection) => connection.query('SELECT 1'))
  await until(() => manager.closed, { what: 'the session to be dropped' })
  await outcome(manager.use((connection) => connection.query('SELECT 1')))
  assert.equal(server.accepted, 2)
})

// ---- mutations of what the real server says

type Mutation = (chunk: Buffer, random: Random) => Buffer | null

const MUTATIONS: readonly Mutation[] = [
  function flipABit(chunk, random) {
    const mutated = Buffer.from(chunk)
    mutated[random.below(chunk.length)]! ^= 1 << random.below(8)
    return mutated
  },
  function changeAByte(chunk, random) {
    const mutated = Buffer.from(chunk)
    mutated[random.below(chunk.length)] = random.below(256)
    return mutated
  },
  function drop() {
    return null
  },
  function dropAByte(chunk, random) {
    const at = random.below(chunk.length)
    return Buffer.concat([chunk.subarray(0, at), chunk.subarray(at + 1)])
  },
  function repeat(chunk) {
    return Buffer.concat([chunk, chunk])
  },
  function cutShort(chunk, random) {
    return chunk.subarray(0, random.below(chunk.length))
  },
  function insert(chunk, random) {
    const [, , answer] = random.pick(LIES.filter(([, , lie]) => typeof lie !== 'function'))
    return Buffer.concat([chunk, ...(answer as readonly Buffer[])])
  },
  function shuffleMessages(chunk, random) {
    const messages = splitMessages(chunk)
    const first = random.below(messages.length)
    const [moved] = messages.splice(first, 1)
    messages.splice(random.below(messages.length + 1), 0, moved!)
    return Buffer.concat(messages)
  },
  function dropAMessage(chunk, random) {
    const messages = splitMessages(chunk)
    messages.splice(random.below(messages.length), 1)
    return Buffer.concat(messages)
  },
  function noise(_chunk, random) {
    return Buffer.from(Array.from({ length: 1 + random.below(64) }, () => random.below(256)))
  },
]

/** As far as it holds whole messages. */
function splitMessages(chunk: Buffer): Buffer[] {
  const messages: Buffer[] = []
  let at = 0
  while (at + 5 <= chunk.length) {
    const end = Math.min(chunk.length, at + 1 + Math.max(4, chunk.readUInt32BE(at + 1)))
    messages.push(chunk.subarray(at, end))
    at = end
  }
  if (at < chunk.length) messages.push(chunk.subarray(at))
  return messages
}

test(
  'whatever is done to the bytes of a real server, every promise settles and the manager recovers',
  { timeout: HOSTILE_MILLIS + 60_000 },
  async (t) => {
    t.diagnostic(`HOSTILE_SEED=${SEED}`)
    const end = performance.now() + HOSTILE_MILLIS
    const counts = { mutations: 0, wells: 0, errors: 0 }
    const mutate = async (seed: number): Promise<void> => {
      const random = new Random(seed)
      await using proxy = await startProxy(database.login)
      await using manager = new ManagedConnection(conninfoThrough(proxy, database), {
        ...LIMITS,
        acquireTimeoutMillis: 1_000,
      })
      while (performance.now() < end) {
        // Most often what is mutated is an answer, now and then a login.
        if (random.chance(0.9)) await works(manager)
        const mutation = random.pick(MUTATIONS)
        let skip = random.below(4)
        proxy.onChunk = (direction, chunk) => {
          if (direction === 'toServer' || chunk.length === 0 || skip-- !== 0) return chunk
          counts.mutations++
          return mutation(chunk, random)
        }
        for (const outcome of await outcomesOf(manager)) {
          if (outcome.status === 'fulfilled') counts.wells++
          else if (isClear(outcome.reason)) counts.errors++
          else throw new Error(`${mutation.name} with HOSTILE_SEED=${SEED}`, { cause: outcome.reason })
        }
        proxy.onChunk = null
      }
    }
    await Promise.all(Array.from({ length: 8 }, (_, lane) => mutate(SEED + lane)))
    t.diagnostic(JSON.stringify(counts))
    assert.ok(counts.mutations > 0 && counts.errors > 0)
  },
)
