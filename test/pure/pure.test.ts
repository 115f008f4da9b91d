/** The parts that need no server: lists, deadlines, the line, the settlement table, backoff, texts. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { leakTest } from '../support/suite.js'
import { collectGarbage } from '../support/collect-garbage.js'
import { internal } from '../support/internals.js'

const { BufferedSubscription } = await internal('subscription')
const { BriefMap } = await internal('briefMap')
const { LinkedList } = await internal('linkedList')
const { Deadlines, deadline } = await internal('deadlines')
const { WaitQueue, Waiter } = await internal('waitQueue')
const { settle } = await internal('settlement')
const { nearestName, didYouMean } = await internal('nearestName')
const { backoffMillis } = await internal('backoff')
const { classify } = await internal('classify')
const { beginText } = await internal('begin')
const { isWorthRepeating } = await internal('failures')
const { createScope, enclosingScope, runInScope } = await internal('holderContext')

const test = leakTest()

interface Node {
  id: number
  previous: Node | null
  next: Node | null
}

test('linked list: it does what an array does, whatever the order of steps', () => {
  const list = new LinkedList<Node>()
  let mirror: Node[] = []
  let seed = 42
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
    return Math.floor((seed / 2_147_483_648) * below)
  }
  for (let id = 0; id < 2_000; id++) {
    const node: Node = { id, previous: null, next: null }
    // Mostly it grows, and now and then it is emptied at once.
    switch (random(20)) {
      case 0:
        assert.deepEqual(list.takeAll(), mirror)
        mirror = []
        break
      case 1:
      case 2:
      case 3:
        if (list.head !== null) list.remove(list.head)
        mirror.shift()
        break
      default:
        list.push(node)
        mirror.push(node)
        break
      case 4:
      case 5:
      case 6:
      case 7: {
        const victim = mirror[random(mirror.length)]
        if (victim === undefined) break
        list.remove(victim)
        mirror = mirror.filter((one) => one !== victim)
        assert.deepEqual([victim.previous, victim.next], [null, null])
      }
    }
    assert.equal(list.size, mirror.length)
    assert.equal(list.head, mirror[0] ?? null)
  }
  assert.deepEqual(
    [...list].map((node) => node.id),
    mirror.map((node) => node.id),
  )
})

test('linked list: a visitor may take out the node it is at', () => {
  const list = new LinkedList<Node>()
  for (let id = 0; id < 5; id++) list.push({ id, previous: null, next: null })
  const seen: number[] = []
  for (const node of list) {
    seen.push(node.id)
    list.remove(node)
  }
  assert.deepEqual(seen, [0, 1, 2, 3, 4])
  assert.equal(list.size, 0)
})

test('deadlines: each falls due in its time and order, a removed one never', async () => {
  const deadlines = new Deadlines()
  const fired: string[] = []
  const add = (name: string, millis: number): ReturnType<typeof deadline> => {
    const item = deadline(() => fired.push(name))
    deadlines.add(item, millis)
    return item
  }
  add('b', 40)
  add('a', 15)
  add('b2', 40)
  const removed = add('removed', 20)
  add('never', Infinity)
  add('far', 2 ** 40)
  deadlines.remove(removed)
  deadlines.remove(removed)
  await sleep(100)
  assert.deepEqual(fired, ['a', 'b', 'b2'])
  deadlines.clear()
})

test('deadlines: one that falls due may add another, and a list is used again', async () => {
  const deadlines = new Deadlines()
  let rounds = 0
  await new Promise<void>((resolve) => {
    const again = (): void => {
      if (++rounds === 3) resolve()
      else deadlines.add(deadline(again), 5)
    }
    deadlines.add(deadline(again), 5)
  })
  assert.equal(rounds, 3)
  deadlines.clear()
})

type Heard = [what: string, value: unknown]

/** One who writes down what it hears. */
class Listener extends Waiter<number> {
  readonly heard: Heard[]
  readonly name: string

  constructor(heard: Heard[], name: string) {
    super()
    this.heard = heard
    this.name = name
  }

  protected accept(granted: number): void {
    this.heard.push([`${this.name} granted`, granted])
  }

  protected refuse(error: unknown): void {
    this.heard.push([`${this.name} rejected`, error])
  }

  protected timedOut(): Error {
    return new Error(`${this.name} timed out`)
  }
}

test('line: first come, first served; who leaves in the middle is skipped', () => {
  const line = new WaitQueue<number>(new Deadlines())
  const heard: Heard[] = []
  const [a, b, c] = [new Listener(heard, 'a'), new Listener(heard, 'b'), new Listener(heard, 'c')]
  for (const waiter of [a, b, c]) line.join(waiter, { timeoutMillis: Infinity })
  assert.equal(line.length, 3)
  assert.equal(line.first, a)
  b.reject('gone')
  assert.equal(a.grant(1, 0), true)
  assert.equal(line.first, c)
  assert.equal(b.grant(2, 0), false)
  assert.equal(c.grant(3, 0), true)
  assert.equal(a.grant(4, 0), false)
  c.reject('too late')
  assert.deepEqual(heard, [
    ['b rejected', 'gone'],
    ['a granted', 1],
    ['c granted', 3],
  ])
  assert.equal(line.length, 0)
})

test('line: one whose time has passed declines, even when its timer has not fired', () => {
  const deadlines = new Deadlines()
  const line = new WaitQueue<number>(deadlines)
  const heard: Heard[] = []
  const waiter = new Listener(heard, 'a')
  line.join(waiter, { timeoutMillis: 10_000 })
  assert.equal(waiter.grant(1, performance.now() + 20_000), false)
  assert.equal((heard[0]![1] as Error).message, 'a timed out')
  assert.equal(line.length, 0)
  deadlines.clear()
})

test('line: a signal takes its waiter out, and is let go when it was granted', () => {
  const line = new WaitQueue<number>(new Deadlines())
  const heard: Heard[] = []
  const controller = new AbortController()
  const join = { timeoutMillis: Infinity, signal: controller.signal }
  const granted = new Listener(heard, 'b')
  line.join(new Listener(heard, 'a'), join)
  line.join(granted, join)
  granted.grant(1, 0)
  controller.abort('enough')
  assert.deepEqual(heard, [
    ['b granted', 1],
    ['a rejected', 'enough'],
  ])
})

test('line: rejecting all gives each an error of its own, and not to those who join meanwhile', () => {
  const line = new WaitQueue<number>(new Deadlines())
  const heard: Heard[] = []
  const join = { timeoutMillis: Infinity }
  class AsksAgain extends Listener {
    protected override refuse(): void {
      line.join(new Listener(heard, 'late'), join)
    }
  }
  line.join(new AsksAgain(heard, 'a'), join)
  line.join(new Listener(heard, 'b'), join)
  let made = 0
  line.rejectAll(() => ++made)
  assert.equal(made, 2)
  assert.deepEqual(heard, [['b rejected', 2]])
  assert.equal(line.length, 1)
})

test('settlement: the whole table, every combination', () => {
  for (const left of ['returned', 'threw'] as const) {
    for (const server of ['idle', 'intrans', 'inerror', 'lost'] as const) {
      for (const owner of ['holder', 'library'] as const) {
        for (const unfinished of [false, true]) {
          for (const openWhenLost of [false, true]) {
            for (const endedByText of [false, true]) {
              const departure = { left, server, owner, unfinished, openWhenLost, endedByText }
              const { connection, caller } = settle(departure)
              const what = JSON.stringify({ departure, connection, caller })
              const open = server === 'intrans' || server === 'inerror'
              if (server === 'lost') assert.equal(connection, 'drop', what)
              if (server === 'idle') assert.equal(connection, 'keep', what)
              if (open) {
                const commits = owner === 'library' && left === 'returned' && !unfinished && !endedByText
                assert.equal(connection, commits ? 'commit' : 'rollback', what)
              }
              if (left === 'threw') assert.equal(caller, 'own error', what)
              else if (unfinished) assert.equal(caller, 'unfinished', what)
              else if (server === 'lost') assert.equal(caller, openWhenLost ? 'lost' : 'result', what)
              else if (owner === 'library') assert.equal(caller, endedByText ? 'ended' : 'result', what)
              else assert.equal(caller, open ? 'uncommitted' : 'result', what)
            }
          }
        }
      }
    }
  }
})

test('backoff: it doubles up to its bound, and a random half is taken off', () => {
  const backoff = { firstMillis: 10, maxMillis: 100 }
  assert.deepEqual(
    [0, 1, 2, 3, 4, 50, 5_000].map((attempt) => backoffMillis(backoff, attempt, 1)),
    [10, 20, 40, 80, 100, 100, 100],
  )
  assert.equal(backoffMillis(backoff, 0, 0), 5)
  assert.equal(backoffMillis(backoff, 9, 0), 50)
})

const KINDS: Readonly<Record<string, readonly string[]>> = {
  plain: [
    'SELECT 1',
    'select 1;',
    ' \n\t SELECT 1 ; ',
    '-- first\nSELECT 1',
    '/* a /* nested */ comment; */ SELECT 1',
    "SELECT ';'",
    "SELECT 'it''s; fine'",
    'SELECT ";" FROM "a;b"',
    'SELECT $$;$$',
    'SELECT $tag$ ; $$ ; $tag$',
    "SELECT E'\\';'",
    'SELECT $1, $2',
    'INSERT INTO t VALUES (1)',
    'UPDATE t SET a = 1',
    'DELETE FROM t',
    'MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE',
    'VALUES (1)',
    'TABLE t',
    'WITH x AS (SELECT 1) SELECT * FROM x',
    '(SELECT 1) UNION SELECT 2',
    'SELECT 1 -- ; COMMIT',
    'SELECT 1 /* ; COMMIT */',
    'SELECT a.commit FROM a',
    'SELECT 1 AS "begin"',
  ],
  control: [
    'BEGIN',
    'begin work',
    'START TRANSACTION READ ONLY',
    'COMMIT',
    'COMMIT AND CHAIN',
    'END',
    'ROLLBACK',
    'ABORT',
    'SAVEPOINT a',
    'RELEASE a',
    'ROLLBACK TO a',
    "PREPARE TRANSACTION 'x'",
    '/* x */ -- y\n COMMIT;',
  ],
  copy: ['COPY t FROM STDIN', 'copy (SELECT 1) to stdout'],
  forget: ['DEALLOCATE ALL', 'DEALLOCATE a', 'DISCARD ALL', 'DISCARD TEMP'],
  other: [
    '',
    ' ',
    ';',
    '-- nothing',
    'CREATE TABLE t ()',
    'SET a.b = 1',
    'CALL f()',
    'VACUUM',
    'LOCK t',
    'PREPARE a AS SELECT 1',
    'DO $$BEGIN; END$$',
  ],
  several: [
    'SELECT 1; SELECT 2',
    'SELECT 1;SELECT 2',
    'BEGIN; COMMIT',
    'SELECT 1; -- x\n COMMIT',
    "SELECT 'unfinished",
    'SELECT "unfinished',
    'SELECT $a$ unfinished',
    'SELECT /* unfinished',
    "SELECT '\\'; COMMIT; --'",
  ],
}

for (const [kind, texts] of Object.entries(KINDS)) {
  test(`classify: ${kind}`, () => {
    for (const text of texts) assert.equal(classify(text).kind, kind, text)
  })
}

test('classify: what may end a transaction is known, wherever it stands', () => {
  for (const text of [
    'COMMIT',
    'END',
    'ROLLBACK',
    'ROLLBACK WORK',
    'ABORT',
    "PREPARE TRANSACTION 'x'",
    'SELECT 1; COMMIT',
    'COMMIT; SELECT 1',
    "SELECT '\\'; COMMIT; --'",
    'ROLLBACK AND CHAIN',
  ])
    assert.equal(classify(text).mayEnd, true, text)
  for (const text of [
    'SELECT 1',
    'ROLLBACK TO a',
    'ROLLBACK WORK TO SAVEPOINT a',
    'ROLLBACK TRANSACTION TO a',
    'SAVEPOINT a',
    'RELEASE a',
    "SELECT 'COMMIT'",
    'SELECT 1; SELECT 2',
    'BEGIN',
    "COMMIT PREPARED 'x'",
    "ROLLBACK PREPARED 'x'",
    "SELECT ';COMMIT'",
    'SELECT $$;COMMIT;$$',
  ])
    assert.equal(classify(text).mayEnd, false, text)
})

test('classify: what may commit one is known, too', () => {
  for (const text of ['COMMIT', 'END', 'SELECT 1; END', 'COMMIT AND CHAIN'])
    assert.equal(classify(text).mayCommit, true, text)
  for (const text of ['ROLLBACK', 'ABORT', 'SELECT 1', 'BEGIN'])
    assert.equal(classify(text).mayCommit, false, text)
})

test('classify: what controls a transaction, and what commits in parts', () => {
  assert.equal(classify('SELECT atomic FROM a').kind, 'plain')
  assert.equal(classify('COMMIT').ends, true)
  assert.equal(classify('COMMIT; SELECT 1').ends, false)
  for (const text of ['BEGIN', 'SELECT 1; COMMIT', 'SAVEPOINT a', "PREPARE TRANSACTION 'x'"])
    assert.equal(classify(text).controls, true, text)
  for (const text of ['SELECT 1', "SELECT '\\'; COMMIT; --'"])
    assert.equal(classify(text).controls, false, text)
  for (const text of [
    'CALL p()',
    'DO $$ $$',
    'VACUUM',
    'SELECT 1; CALL p()',
    'CREATE INDEX CONCURRENTLY i ON t (a)',
  ])
    assert.equal(classify(text).inParts, true, text)
  for (const text of ['SELECT call', 'INSERT INTO t VALUES (1)', 'CREATE INDEX i ON t (a)'])
    assert.equal(classify(text).inParts, false, text)
})

test('classify: it never throws and never takes long, whatever the text', () => {
  const pieces = [
    "'",
    '"',
    '$$',
    '$a$',
    ';',
    '/*',
    '*/',
    '--',
    '\n',
    'COMMIT',
    ' ',
    '\\',
    "E'",
    '(',
    ')',
    '$1',
    'é',
    '\0',
  ]
  let seed = 7
  for (let round = 0; round < 5_000; round++) {
    let text = ''
    for (let n = 0; n < 12; n++) {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
      text += pieces[seed % pieces.length]!
    }
    classify(text)
  }
  const startedAt = performance.now()
  for (const long of [
    "'".repeat(100_001),
    '/*'.repeat(50_000),
    '$a'.repeat(50_000),
    '--\n'.repeat(50_000),
    '$'.repeat(100_000),
  ])
    classify(long)
  assert.ok(performance.now() - startedAt < 5_000)
})

test('begin: the text of every mode', () => {
  assert.equal(beginText({}), 'BEGIN')
  assert.equal(beginText({ isolationLevel: 'serializable' }), 'BEGIN ISOLATION LEVEL SERIALIZABLE')
  assert.equal(beginText({ accessMode: 'read only' }), 'BEGIN READ ONLY')
  assert.equal(beginText({ deferrable: false }), 'BEGIN NOT DEFERRABLE')
  assert.equal(
    beginText({ isolationLevel: 'repeatable read', accessMode: 'read write', deferrable: true }),
    'BEGIN ISOLATION LEVEL REPEATABLE READ, READ WRITE, DEFERRABLE',
  )
  assert.throws(() => beginText({ isolationLevel: 'none' as never }), TypeError)
})

function fromServer(code: string): Error {
  return Object.assign(new Error(code), { code, severity: 'ERROR' })
}

test('failures: 40001 and 40P01 of the server are worth repeating, nothing else', () => {
  for (const code of ['40001', '40P01']) assert.equal(isWorthRepeating(fromServer(code)), true)
  for (const code of ['40002', '23505', '57014']) assert.equal(isWorthRepeating(fromServer(code)), false)
  assert.equal(isWorthRepeating(Object.assign(new Error('mine'), { code: '40001' })), false)
  for (const thrown of [undefined, null, '40001', { code: '40001' }])
    assert.equal(isWorthRepeating(thrown), false)
})

test('failures: what cannot be looked at is no failure of the server, and does no harm', () => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  const unreadable = Object.defineProperty(new Error('mine'), 'code', {
    get: () => {
      throw new Error('no')
    },
  })
  for (const thrown of [proxy, unreadable]) assert.equal(isWorthRepeating(thrown), false)
})

test('a brief map holds what a Map does, however much comes and goes', () => {
  const brief = new BriefMap<number, string>()
  const plain = new Map<number, string>()
  for (let n = 0; n < 5_000; n++) {
    brief.set(n, `${n}`)
    plain.set(n, `${n}`)
    const gone = (n * 7) % (n + 1)
    assert.equal(brief.delete(gone), plain.delete(gone))
    assert.equal(brief.size, plain.size)
    assert.equal(brief.get(n - 1), plain.get(n - 1))
  }
  assert.deepEqual(brief.entries(), [...plain])
  assert.deepEqual(brief.keys(), [...plain.keys()])
  assert.deepEqual(brief.values(), [...plain.values()])
  brief.clear()
  assert.equal(brief.size, 0)
  assert.equal(brief.has(4_999), false)
})

/** How many bytes are kept of 20,000 entries of a kilobyte that have come and gone since a full collection. */
function bytesKept(map: Pick<Map<number, unknown>, 'set' | 'delete'>): number {
  map.set(-1, null)
  collectGarbage()
  const before = process.memoryUsage().heapUsed
  for (let n = 0; n < 20_000; n++) {
    map.set(n, new Array(128).fill(n))
    map.delete(n - 16)
  }
  collectGarbage({ type: 'minor' })
  return process.memoryUsage().heapUsed - before
}

test('what has left a brief map is garbage at once: a Map may keep it until the next full collection', () => {
  assert.ok(bytesKept(new BriefMap() as never) < 3e6)
})

test('a reader that waits for the next notification in a worker hears of the error, those behind it of the end', async () => {
  const subscription = new BufferedSubscription('channel', 3, () => {})
  const reader = subscription[Symbol.asyncIterator]()
  const [first, second] = [reader.next(), reader.next()]
  const error = new Error('overflow')
  subscription.end(error)
  await assert.rejects(first, error)
  assert.equal((await second).done, true)
  assert.equal((await reader.next()).done, true)
})

const SOME_NAMES = [
  'host',
  'port',
  'sslmode',
  'acquireTimeoutMillis',
  'maxWaiting',
  'maxPrepared',
  'isolationLevel',
]

for (const [given, meant] of [
  ['host', 'host'],
  ['hots', 'host'],
  ['hst', 'host'],
  ['SSL-Mode', 'sslmode'],
  ['isolationlevel', 'isolationLevel'],
  ['acquireTimeout', 'acquireTimeoutMillis'],
  ['aquireTimeoutMilis', 'acquireTimeoutMillis'],
  ['maxWait', 'maxWaiting'],
  ['prot', 'port'],
  ['nonsense', undefined],
  ['max', undefined],
  ['p', undefined],
  ['', undefined],
] as const) {
  test(`nearest name: ${given === '' ? 'nothing' : given} is taken for ${meant ?? 'none'}`, () => {
    assert.equal(nearestName(given, SOME_NAMES), meant)
    assert.equal(didYouMean(given, SOME_NAMES), meant === undefined ? '' : `; did you mean "${meant}"?`)
  })
}

test('nearest name: of several that are near, the nearest', () => {
  assert.equal(nearestName('timeout', ['timeoutMillis', 'timeouts', 'timeput']), 'timeouts')
  assert.equal(nearestName('timeouty', ['timeouts', 'timeoutx']), 'timeouts')
})

test('scopes: one that begins inside of others keeps only those that have not settled', () => {
  const manager = {}
  const other = {}
  const outer = createScope(other, 'callback')
  let last = runInScope(outer, () => createScope(manager, 'callback'))
  for (let step = 0; step < 5; step++) {
    last.settled = true
    last = runInScope(last, () => createScope(manager, 'callback'))
    assert.equal(last.outer, outer)
  }
  runInScope(last, () => {
    assert.equal(enclosingScope(manager), last)
    assert.equal(enclosingScope(other), outer)
  })
})
