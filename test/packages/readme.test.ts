/** What is written for readers is true: the examples compile and run, the tables say what the source says. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test as plainTest } from 'node:test'
import * as library from 'pg-managed-connection'
import { ManagedConnection } from 'pg-managed-connection'
import {
  checkTypes,
  quoted,
  readExamples,
  readTable,
  runExample,
  type Surroundings,
} from '../support/examples.js'
import { internal, type Departure, type Settlement } from '../support/internals.js'
import { pathOf } from '../support/root.js'
import { openSuite } from '../support/suite.js'

const { test, database } = await openSuite()

const root = pathOf()
const { DEFAULT_OPTIONS } = await internal('options')
const { keywords } = await internal('keywords')
const { settle } = await internal('settlement')

const readme = readFileSync(join(root, 'README.md'), 'utf8')
const readmeExamples = readExamples('README.md', readme)

const SURROUNDINGS: Surroundings = {
  ManagedConnection: "typeof import('pg-managed-connection').ManagedConnection",
  manager: "import('pg-managed-connection').ManagedConnection",
  connection: "import('pg-managed-connection').Connection",
}

/** The database of the README's examples. */
const BANK = 'postgres:///bank'

plainTest('every example of the README and of the JSDoc comments passes the compiler', () => {
  const jsdocExamples = sourceFiles().flatMap((name) =>
    readExamples(`src/${name}`, readFileSync(join(root, 'src', name), 'utf8')),
  )
  assert.ok(readmeExamples.length > 15 && jsdocExamples.length > 3, 'the examples are found')
  assert.deepEqual(checkTypes([...readmeExamples, ...jsdocExamples], SURROUNDINGS, root), [])
})

plainTest('an example that does not compile is found, and its line named', () => {
  const wrong = { place: 'page.md:7', code: "import pg from 'pg'\n\nmanager.query(1)\n" }
  const [message = '', ...others] = checkTypes([wrong], SURROUNDINGS, root)
  assert.match(message, /^page\.md:7, line 3: .*\(manager\.query\(1\)\)$/)
  assert.deepEqual(others, [])
})

plainTest('an example whose claim is wrong is found', async () => {
  const run = (code: string): Promise<void> => runExample({ place: 'page.md:1', code }, {})
  await run('1 + 1 // → 2\n')
  await assert.rejects(run('1 + 1 // → 3\n'), assert.AssertionError)
  await run('await Promise.reject(new RangeError()) // throws RangeError\n')
  await assert.rejects(run('await Promise.reject(new RangeError()) // throws TypeError\n'), RangeError)
  await assert.rejects(run('await 1 // throws TypeError\n'), assert.AssertionError)
  await assert.rejects(run('const one = 1 // → 1\n'), /each claim stands behind a statement/)
})

for (const { place, code } of readmeExamples) {
  test(`the example at ${place} does what it says`, async () => {
    await fillBank()
    const { made, Tracked } = trackManagers()
    const warn = console.warn
    console.warn = () => {} // one of them does
    try {
      const given = { ManagedConnection: Tracked, manager: new Tracked(database.conninfo) }
      await runExample({ place, code: code.replaceAll(BANK, `postgres:///${database.name}`) }, given)
    } finally {
      console.warn = warn
      await Promise.all(made.map((manager) => manager.end()))
    }
  })
}

plainTest('the options of the README are those of the source, with their defaults and units', () => {
  const rows = readTable(readme, 'option').map(([name, unit, value]) => ({
    name: quoted(name!)[0]!,
    unit,
    value,
  }))
  assert.deepEqual(
    rows.map(({ name }) => name),
    Object.keys(DEFAULT_OPTIONS),
  )
  for (const { name, unit, value } of rows) {
    const expected = DEFAULT_OPTIONS[name as keyof typeof DEFAULT_OPTIONS]
    assert.equal(value, expected === undefined ? '' : `\`${literal(expected)}\``, name)
    assert.equal(unit === 'ms', name.endsWith('Millis'), name)
  }
})

plainTest('the error classes of the README are those of the source, with their codes', () => {
  const rows = readTable(readme, 'class').map(([name, code]) => [quoted(name!)[0], quoted(code!)[0]])
  assert.deepEqual(rows.sort(), errorClasses().sort())
})

plainTest('the events of the README are those of the source', () => {
  const declared = readFileSync(join(root, 'src/events.ts'), 'utf8').split(
    'interface ManagedConnectionEvents',
  )[1]!
  const names = [...declared.matchAll(/^ {2}(\w+): \[/gm)].map(([, name]) => name)
  assert.deepEqual(
    readTable(readme, 'event').map(([name]) => quoted(name!)[0]),
    names,
  )
})

plainTest('the connection parameters that the README calls refused or without effect are those', () => {
  const listed = (start: string): string[] => {
    const item = new RegExp(`^- ${start}: ([^]*?)\\.\\n(?=- |\\n)`, 'm').exec(readme)?.[1] ?? ''
    return quoted(item.replace(/\([^)]*\)/g, ''))
  }
  const known = (effect: string): string[] =>
    [...keywords].filter(([, keyword]) => keyword.effect === effect).map(([name]) => name)
  assert.deepEqual(listed('Refused').sort(), known('refused').sort())
  assert.deepEqual(listed('Refused for some values').sort(), known('partly').sort())
  assert.deepEqual(listed('Without effect').sort(), known('without effect').sort())
})

/** Which departures a row of the settlement table speaks of, by its first two cells. */
const SETTLEMENT_ROWS: Readonly<Record<string, (departure: Departure) => boolean>> = {
  'returned | idle': ({ left, server, ...rest }) =>
    left === 'returned' && server === 'idle' && !rest.unfinished && !isEnded(rest),
  'returned | in a transaction, open or failed': ({ left, server, unfinished, owner }) =>
    left === 'returned' && isOpen(server) && !unfinished && owner === 'holder',
  'returned from `transaction()` | in a transaction, open or failed': ({
    left,
    server,
    unfinished,
    ...rest
  }) => left === 'returned' && isOpen(server) && !unfinished && rest.owner === 'library' && !rest.endedByText,
  'returned from `transaction()`, whose transaction its own SQL had ended | anything but lost': (departure) =>
    departure.left === 'returned' &&
    departure.server !== 'lost' &&
    !departure.unfinished &&
    isEnded(departure),
  'threw | anything but lost': ({ left, server, unfinished }) =>
    left === 'threw' && server !== 'lost' && !unfinished,
  'left with statements in flight | anything': ({ unfinished }) => unfinished,
  'left | lost, with nothing open': ({ server, unfinished, openWhenLost }) =>
    server === 'lost' && !unfinished && !openWhenLost,
  'left | lost, with something open': ({ server, unfinished, openWhenLost }) =>
    server === 'lost' && !unfinished && openWhenLost,
}

const FATES: Readonly<Record<Settlement['connection'], RegExp>> = {
  keep: /goes (?:to the next|on)/,
  commit: /is sent COMMIT/,
  rollback: /is rolled back/,
  drop: /is dropped/,
}

const OUTCOMES: Readonly<Record<Settlement['caller'], RegExp>> = {
  result: /its result/,
  'own error': /its own error/,
  uncommitted: /`UncommittedTransactionError`/,
  unfinished: /`UnfinishedStatementError`/,
  ended: /`TransactionEndedError`/,
  lost: /`ConnectionLostError`/,
}

plainTest('each way to leave is in one row of the settlement table, which says what the source does', () => {
  const rows = readTable(readme, 'the holder…').filter(([, server]) => server !== '')
  assert.deepEqual(
    rows.map(([holder, server]) => `${holder} | ${server}`),
    Object.keys(SETTLEMENT_ROWS),
  )
  const departures = allDepartures()
  assert.equal(departures.length, 128)
  for (const departure of departures) {
    const [row, ...others] = rows.filter(([holder, server]) =>
      SETTLEMENT_ROWS[`${holder} | ${server}`]!(departure),
    )
    const asked = JSON.stringify(departure)
    assert.ok(row !== undefined && others.length === 0, `one row, not ${row ? 'more' : 'none'}, for ${asked}`)
    const { connection, caller } = settle(departure)
    assert.match(row[2]!, FATES[connection], asked)
    assert.match(row[3]!, OUTCOMES[caller], asked)
  }
})

function sourceFiles(): string[] {
  return readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  )
}

/** Ann and Bob, with 100 each. */
async function fillBank(): Promise<void> {
  await database.admin.query('DROP TABLE IF EXISTS accounts')
  await database.admin.query('CREATE TABLE accounts (id int PRIMARY KEY, owner text, balance int)')
  await database.admin.query("INSERT INTO accounts VALUES (1, 'Ann', 100), (2, 'Bob', 100)")
}

/** A class of managers that remembers which were made. */
function trackManagers(): { made: ManagedConnection[]; Tracked: typeof ManagedConnection } {
  const made: ManagedConnection[] = []
  class Tracked extends ManagedConnection {
    constructor(...args: ConstructorParameters<typeof ManagedConnection>) {
      super(...args)
      made.push(this)
    }
  }
  return { made, Tracked }
}

function literal(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`
  return String(value).replace(/(\d)(?=(?:\d{3})+$)/g, '$1_')
}

/** Names and codes. Each class takes its facts, or a message and its facts. */
function errorClasses(): string[][] {
  const { ManagedConnectionError: Base } = library
  const facts = { statement: '', statements: [], errors: [], holder: '' }
  return Object.entries(library)
    .filter(([, value]) => value.prototype instanceof Base)
    .map(([name, value]) => {
      const Class = value as unknown as new (...args: unknown[]) => InstanceType<typeof Base>
      return [name, new Class(facts, facts).code]
    })
}

function isOpen(server: Departure['server']): boolean {
  return server === 'intrans' || server === 'inerror'
}

function isEnded({ owner, endedByText }: Pick<Departure, 'owner' | 'endedByText'>): boolean {
  return owner === 'library' && endedByText
}

function allDepartures(): Departure[] {
  const both = [false, true]
  return (['returned', 'threw'] as const).flatMap((left) =>
    (['idle', 'intrans', 'inerror', 'lost'] as const).flatMap((server) =>
      (['library', 'holder'] as const).flatMap((owner) =>
        both.flatMap((unfinished) =>
          both.flatMap((openWhenLost) =>
            both.map((endedByText) => ({ left, server, owner, unfinished, openWhenLost, endedByText })),
          ),
        ),
      ),
    ),
  )
}
