/** What is written for readers is true: the examples compile and run, the tables say what the source says. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { test as plainTest } from 'node:test'
import { pathToFileURL } from 'node:url'
import * as library from 'pg-managed-connection'
import { ManagedConnection } from 'pg-managed-connection'
import { asPool } from 'pg-managed-connection/pool'
import { drawShortChart } from '../../bench/report/short-chart.js'
import { count } from '../../bench/report/format.js'
import { readAnchors, readLinks } from '../support/documents.js'
import {
  checkTypes,
  makesClaims,
  quoted,
  readExamples,
  readTable,
  runExample,
  type Surroundings,
} from '../support/examples.js'
import { openSuite } from '../support/suite.js'
import type { Results } from '../../bench/results.js'
import { pagePart, readmeVersions, readTested, readPart } from '../../matrix/page.js'
import { readResults } from '../../matrix/results.js'
import { internal, type Departure, type OptionalCall, type Settlement } from '../support/internals.js'
import { pathOf } from '../support/root.js'

const { test, database } = await openSuite()

const root = pathOf()
const { DEFAULT_OPTIONS } = await internal('options')
const { checkOptionNames } = await internal('optionNames')
const { keywords } = await internal('keywords')
const { settle } = await internal('settlement')

/** README.md and the pages of docs/, by their paths from the root. */
const pages = ['README.md', ...listFiles('docs', '.md')]
const texts: ReadonlyMap<string, string> = new Map(pages.map((name) => [name, read(name)]))

/** Pages whose examples open threads and workers, need servers that are not there, or show other libraries: only those that claim something are run. */
const MOSTLY_COMPILED: ReadonlySet<string> = new Set([
  'docs/ecosystem.md',
  'docs/growing.md',
  'docs/moving-from-pg.md',
  'docs/moving-from-postgres-js.md',
  'docs/production.md',
  'docs/worker-threads.md',
])

const SURROUNDINGS: Surroundings = {
  ManagedConnection: "typeof import('pg-managed-connection').ManagedConnection",
  manager: "import('pg-managed-connection').ManagedConnection",
  pool: "import('pg-managed-connection/pool').ManagedPool",
  connection: "import('pg-managed-connection').Connection",
}

/** The database of the examples. */
const BANK = 'postgres:///bank'

plainTest('every example of the pages and of the JSDoc comments passes the compiler', () => {
  const written = [...texts].flatMap(([name, text]) => readExamples(name, text))
  const inComments = listFiles('src', '.ts').flatMap((name) => readExamples(name, read(name)))
  assert.ok(written.length > 40 && inComments.length > 3, 'the examples are found')
  assert.deepEqual(checkTypes([...written, ...inComments], SURROUNDINGS, root), [])
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

for (const [name, text] of texts) {
  for (const example of readExamples(name, text)) {
    if (MOSTLY_COMPILED.has(name) && !makesClaims(example)) continue
    test(`the example at ${example.place} does what it says`, async () => {
      await fillBank()
      const { made, Tracked } = trackManagers()
      const warn = console.warn
      console.warn = () => {} // one of them does
      try {
        const manager = new Tracked(database.conninfo)
        const code = example.code.replaceAll(BANK, `postgres:///${database.name}`)
        await runExample({ ...example, code }, { ManagedConnection: Tracked, manager, pool: asPool(manager) })
      } finally {
        console.warn = warn
        await Promise.all(made.map((manager) => manager.end()))
      }
    })
  }
}

const linking = [
  ...pages,
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'bench/README.md',
  'bench/results/latest.md',
]

plainTest('every link leads to a file, and every anchor to a heading', () => {
  const broken = linking.flatMap((name) =>
    readLinks(read(name))
      .filter((link) => !/^https?:/.test(link) && !leadsSomewhere(name, link))
      .map((link) => `${name}: ${link}`),
  )
  assert.deepEqual(broken, [])
})

plainTest('a link that leads nowhere is found', () => {
  assert.deepEqual(readLinks('[`a`](b.md#c) ![d](e.svg) `[no](link)`'), ['b.md#c', 'e.svg'])
  assert.deepEqual(
    [...readAnchors('# A `b()`: c, d\n\n## A `b()`: c, d\n\n```\n# no heading\n```\n')],
    ['a-b-c-d', 'a-b-c-d-1'],
  )
  assert.equal(leadsSomewhere('docs/errors.md', 'options.md'), true)
  assert.equal(leadsSomewhere('docs/errors.md', '../README.md#install'), true)
  assert.equal(leadsSomewhere('docs/errors.md', '#classes'), true)
  assert.equal(leadsSomewhere('docs/errors.md', 'optoins.md'), false)
  assert.equal(leadsSomewhere('docs/errors.md', '../README.md#instal'), false)
  assert.equal(leadsSomewhere('docs/errors.md', '../../README.md'), false)
})

plainTest(
  'README.md is short, and it and the index link to every page; the index lists every example',
  () => {
    assert.ok(texts.get('README.md')!.split('\n').length <= 201, 'README.md has at most 200 lines')
    const subjects = pages.slice(1).filter((name) => name !== 'docs/README.md')
    for (const from of ['README.md', 'docs/README.md']) {
      const linked = new Set(
        readLinks(read(from)).map((link) => join(dirname(from), link.replace(/#.*/, ''))),
      )
      assert.deepEqual(
        subjects.filter((name) => !linked.has(name)),
        [],
        from,
      )
    }
    const linked = readLinks(read('docs/README.md')).map((link) => join('docs', link))
    const examples = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.ts'))
    assert.deepEqual(
      examples.filter((name) => !linked.includes(`examples/${name}`)),
      [],
    )
    const rows = readTable(read('docs/README.md'), 'name').map(([name]) => quoted(name!)[0]!)
    for (const name of rows) assert.match(texts.get('README.md')!, new RegExp(`\`${name}\``))
  },
)

plainTest('the navigation of the site has every page, and no other', async () => {
  const { checkNavigation } = (await import(pathToFileURL(pathOf('site/navigation.js')).href)) as {
    checkNavigation: (names: string[]) => void
  }
  const names = pages.slice(1).map((name) => basename(name, '.md'))
  const listed = [...names.filter((name) => name !== 'README'), 'contents', 'changelog']
  checkNavigation(listed)
  assert.throws(() => checkNavigation([...listed, 'new-page']), /lacks "new-page"/)
})

plainTest('the figures and the chart of README.md are those of the last full run of the bench', () => {
  const results = JSON.parse(read('bench/results/latest.json')) as Results
  assert.equal(read('docs/throughput.svg'), drawShortChart(results), 'make bench writes it')
  const figure = figuresOf(results)
  const readme = texts.get('README.md')!
  for (const [id, names] of [
    ['query', ['pg-managed-connection', 'pg.Pool max: 1']],
    ['query-slow', ['pg-managed-connection', 'pg.Pool max: 10']],
    ['durable-flush', ['the same by default', 'pg-managed-connection, groupCommit', 'pg.Pool max: 10']],
  ] as const) {
    for (const name of names) assert.match(readme, new RegExp(`\\s${figure(id, name)}\\s`), `${id}: ${name}`)
  }
  for (const [what, other, factor] of readTable(read('docs/comparison.md'), 'what')) {
    assert.equal(factor, measuredFactor(what!, other!), `${what}, ${other}`)
  }

  function measuredFactor(what: string, other: string): string {
    const id = what.includes('2 ms') ? 'network' : what.includes('single') ? 'query' : 'transaction'
    const start = other.replaceAll('`', '').replace(' of one', ' max: 1')
    const row = results.rows.find((each) => each.id === id)!
    const entry = row.entries.find(({ name }) => name.startsWith(start))!
    return entry.comparison!.ratio.median.toFixed(1)
  }
})

plainTest('the figures of the page of the bench are those of its last full run', () => {
  const page = read('bench/README.md')
  const results = JSON.parse(read('bench/results/latest.json')) as Results
  const figure = figuresOf(results)
  for (const [name, flush, , standby] of readTable(page, 'commits per second')) {
    assert.equal(flush, figure('durable-flush', name!), name)
    assert.equal(standby, figure('durable-standby', name!), name)
  }
  for (const [name, rate] of readTable(page, 'nothing to wait for')) {
    assert.equal(rate, figure('durable-cost', name!), name)
  }
  for (const [title, ours, pool] of readTable(page, 'row')) {
    const { id, entries } = results.rows.find((row) => row.title === title)!
    assert.equal(ours, figure(id, entries[0]!.name), title)
    assert.equal(pool, figure(id, 'pg.Pool max: 10'), title)
  }
})

/** Operations per second, as pages write them. */
function figuresOf(results: Results): (id: string, name: string) => string {
  return (id, name) => {
    const { entries } = results.rows.find((row) => row.id === id)!
    return count(entries.find((entry) => entry.name === name)!.median)
  }
}

plainTest('the versions that are named are those that make matrix ran on, with what came out', () => {
  const results = readResults()
  assert.equal(readPart(read('docs/testing.md')), pagePart(results), 'make matrix writes it')
  if (results.length === 0) return
  assert.equal(readTested(texts.get('README.md')!), readmeVersions(results), 'make matrix writes it')
})

plainTest(
  'the oldest pg that the matrix has is the oldest that the package takes, and the newest is ours',
  () => {
    const { dependencies } = JSON.parse(read('matrix/package.json')) as Record<string, Record<string, string>>
    const own = JSON.parse(read('package.json')) as Record<string, Record<string, string>>
    assert.equal(dependencies!['pg-oldest'], `npm:pg@${own['dependencies']!['pg']!.replace('^', '')}`)
    const locked = JSON.parse(read('node_modules/pg/package.json')) as { version: string }
    assert.equal(dependencies!['pg-newest'], `npm:pg@${locked.version}`)
  },
)

plainTest('the options are those of the source, with their defaults and units', () => {
  const rows = readTable(read('docs/options.md'), 'option').map(([name, unit, value]) => ({
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

/** All calls that take options; the compiler sees to it. */
const CALLS: Readonly<Record<OptionalCall, true>> = {
  use: true,
  acquire: true,
  tryAcquire: true,
  transaction: true,
  batch: true,
  with: true,
  listen: true,
  lead: true,
  connect: true,
  close: true,
  end: true,
  'connection.transaction': true,
  stream: true,
}

plainTest('each call has the options that the table gives it, and no others', () => {
  const rows = readTable(read('docs/options.md'), 'call').map(([call, options]) => ({
    call: quoted(call!)[0]! as OptionalCall,
    options: quoted(options!),
  }))
  assert.deepEqual(
    rows.map(({ call }) => call),
    Object.keys(CALLS),
  )
  const all = new Set(rows.flatMap(({ options }) => options))
  for (const { call, options } of rows) {
    const taken = [...all].filter((name) => takes(call, name))
    assert.deepEqual(taken.sort(), options.sort(), call)
  }
  // An error names all of them, or says that there are none.
  for (const { call, options } of rows) {
    const { message } = refusalOf(call, 'zzzzzzzzzzzz')!
    const named = / it has (.+)$/.exec(message)?.[1]?.split(', ') ?? []
    assert.deepEqual(named.sort(), options.sort(), message)
  }

  function takes(call: OptionalCall, name: string): boolean {
    return refusalOf(call, name) === null
  }

  function refusalOf(call: OptionalCall, name: string): Error | null {
    try {
      checkOptionNames(call, { [name]: 1 })
      return null
    } catch (error) {
      return error as Error
    }
  }
})

plainTest('the versions of the other libraries are those that the tests run with', () => {
  for (const [library, version] of readTable(read('docs/ecosystem.md'), 'library')) {
    const installed = JSON.parse(read(`node_modules/${library}/package.json`)) as { version: string }
    assert.equal(installed.version, version, library)
  }
})

plainTest('the error classes are those of the source, with their codes and fields', () => {
  const rows = readTable(read('docs/errors.md'), 'class').map(([name, code, , fields]) => [
    quoted(name!)[0]!,
    quoted(code!)[0]!,
    quoted(fields!).sort().join(),
  ])
  assert.deepEqual(rows.sort(), errorClasses().sort())
})

plainTest('what to do is told for every error class that the package exports, under any name', async () => {
  const manifest = JSON.parse(read('package.json')) as { exports: Record<string, unknown> }
  const names = Object.keys(manifest.exports).filter((name) => !name.endsWith('.json'))
  const modules: object[] = await Promise.all(
    names.map((name) => import(`pg-managed-connection${name.slice(1)}`)),
  )
  const exported = modules.flatMap((exports) =>
    Object.entries(exports)
      .filter(([, value]) => (value as Partial<typeof Error> | null)?.prototype instanceof Error)
      .map(([name]) => name),
  )
  const told = readTable(read('docs/errors-at-the-door.md'), 'error').map(([name]) => quoted(name!)[0]!)
  assert.deepEqual(told.sort(), [...new Set(exported)].filter((name) => !isAbstract(name)).sort())

  /** No error is only that. */
  function isAbstract(name: string): boolean {
    return name === 'ManagedConnectionError'
  }
})

plainTest('the events are those of the source, and so are the reasons of a rollback', () => {
  const page = read('docs/events-and-figures.md')
  const [before, declared] = read('src/events.ts').split('interface ManagedConnectionEvents') as [
    string,
    string,
  ]
  const names = [...declared.matchAll(/^ {2}(\w+): \[/gm)].map(([, name]) => name)
  assert.deepEqual(
    readTable(page, 'event').map(([name]) => quoted(name!)[0]),
    names,
  )
  const reasons = [...before.matchAll(/^ {2}\| ('.+')$/gm)].map(([, reason]) => reason)
  assert.deepEqual(
    readTable(page, 'reason').map(([reason]) => quoted(reason!)[0]),
    reasons,
  )
})

plainTest('the figures are those of a manager', () => {
  const { stats } = new ManagedConnection(BANK)
  assert.deepEqual(
    readTable(read('docs/events-and-figures.md'), 'figure')
      .map(([name]) => quoted(name!)[0])
      .sort(),
    Object.keys(stats).sort(),
  )
})

plainTest(
  'the connection parameters that are called refused or without effect are those of the source',
  () => {
    const page = read('docs/connection-strings.md')
    const listed = (start: string): string[] => {
      const item = new RegExp(`^- ${start}: ([^]*?)\\.\\n(?=- |\\n)`, 'm').exec(page)?.[1] ?? ''
      return quoted(item.replace(/\([^)]*\)/g, ''))
    }
    const known = (effect: string): string[] =>
      [...keywords].filter(([, keyword]) => keyword.effect === effect).map(([name]) => name)
    assert.deepEqual(listed('Refused').sort(), known('refused').sort())
    assert.deepEqual(listed('Refused for some values').sort(), known('partly').sort())
    assert.deepEqual(listed('Without effect').sort(), known('without effect').sort())
  },
)

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
  const rows = readTable(read('docs/settlement.md'), 'the holder…').filter(([, server]) => server !== '')
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

function read(name: string): string {
  return readFileSync(join(root, name), 'utf8')
}

/** The files below a folder whose names end so, by their paths from the root. */
function listFiles(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name}`)
    .sort()
}

/** Whether a relative link in the file `from` leads to a file of the repository, and to a heading in it. */
function leadsSomewhere(from: string, link: string): boolean {
  const [path = '', anchor] = link.split('#')
  const target = path === '' ? from : join(dirname(from), path)
  if (target.startsWith('..') || !existsSync(join(root, target))) return false
  return anchor === undefined || readAnchors(read(target)).has(anchor)
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

/** Names, codes and fields of their own. Each class takes its facts, or a message and its facts. */
function errorClasses(): string[][] {
  const { ManagedConnectionError: Base } = library
  const facts = { statement: '', statements: [], errors: [], holder: '' }
  const common = ['code', 'retrySafe']
  return Object.entries(library)
    .filter(([, value]) => value.prototype instanceof Base)
    .map(([name, value]) => {
      const Class = value as unknown as new (...args: unknown[]) => InstanceType<typeof Base>
      const error = new Class(facts, facts)
      const fields = Object.keys(error).filter((field) => !common.includes(field))
      return [name, error.code, fields.sort().join()]
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
