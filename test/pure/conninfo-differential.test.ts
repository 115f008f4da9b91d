/** Connection strings as libpq itself reads them. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ConninfoError, resolveConninfo } from 'pg-managed-connection/conninfo'
import { assertSameAnswer } from '../support/conninfo/compare.js'
import { EXAMPLES } from '../support/conninfo/examples.js'
import { keywords, planConnection } from '../support/conninfo/internals.js'
import { Oracle, SOURCES, type Answer } from '../support/conninfo/oracle.js'
import { ConninfoMaker, seededRandom } from '../support/conninfo/random-conninfo.js'
import { randomLogin, randomSources } from '../support/conninfo/random-sources.js'

const SEED = Number(process.env['SEED'] || Date.now() % 1_000_000)
const STRINGS = Number(process.env['STRINGS'] || 20_000)
const RESOLUTIONS = Number(process.env['RESOLUTIONS'] || 2_000)
const PASSWORDS = Number(process.env['PASSWORDS'] || 2_000)
const MINUTE = 60_000

const oracle = await Oracle.find()
after(() => oracle?.[Symbol.asyncDispose]())
const skip = oracle === null ? 'no C compiler, or no libpq: only the recorded answers are compared' : false

/** The release whose keywords and rules are ours. */
const OUR_VERSION = 180000
const isOurs = oracle !== null && oracle.version >= OUR_VERSION

/** Since 17 libpq drops spaces around the parts of a URI, and refuses them inside. */
function isComparable(conninfo: string): boolean {
  return isOurs || !(/^postgres(ql)?:\/\//.test(conninfo) && conninfo.includes(' '))
}

test('every recorded answer of libpq is ours', async () => {
  const recorded = JSON.parse(await readFile(join(SOURCES, 'recorded.json'), 'utf8')) as {
    answers: [string, Record<string, string> | null][]
  }
  assert.ok(recorded.answers.length >= 500)
  for (const [conninfo, answer] of recorded.answers) {
    assertSameAnswer(conninfo, answer ?? new Error('refused'))
  }
})

test('the keywords are those of libpq', { skip: isOurs ? false : 'this libpq is of another release' }, () => {
  assert.deepEqual(new Set(keywords.keys()), oracle!.keywords)
})

test('the examples are read as libpq reads them', { skip }, async () => {
  const known = (conninfo: string) => isOurs || !/^\w+=x$/.test(conninfo)
  for (const conninfo of EXAMPLES.filter((example) => isComparable(example) && known(example))) {
    assertSameAnswer(conninfo, await oracle!.parse(conninfo))
  }
})

test(`${STRINGS} random strings are read as libpq reads them`, { skip, timeout: 5 * MINUTE }, async (t) => {
  t.diagnostic(`SEED=${SEED} libpq=${oracle!.version} ${oracle!.library}`)
  const shared = [...keywords.keys()].filter((keyword) => oracle!.keywords.has(keyword))
  const maker = new ConninfoMaker(seededRandom(SEED), shared)
  let compared = 0
  let accepted = 0
  while (compared < STRINGS) {
    const conninfo = maker.next()
    if (!isComparable(conninfo)) continue
    const answer = await oracle!.parse(conninfo)
    assertSameAnswer(conninfo, answer)
    compared += 1
    if (!(answer instanceof Error)) accepted += 1
  }
  t.diagnostic(`${compared} strings compared, ${accepted} of them accepted`)
  assert.ok(accepted > STRINGS / 5)
})

test(
  `${RESOLUTIONS} random environments and service files are resolved as libpq resolves them`,
  { skip: isOurs ? false : skip || 'this libpq is of another release', timeout: 5 * MINUTE },
  async (t) => {
    t.diagnostic(`SEED=${SEED}`)
    const folder = await mkdtemp(join(tmpdir(), 'service-'))
    const serviceFile = join(folder, 'services')
    const random = seededRandom(SEED)
    let accepted = 0
    try {
      for (let round = 0; round < RESOLUTIONS; round++) {
        const sources = randomSources(random, serviceFile)
        await writeFile(serviceFile, sources.services)
        const answer = await oracle!.resolve(sources.conninfo, sources.env)
        assertSameResolution(sources, answer)
        if (!(answer instanceof Error)) accepted += 1
      }
    } finally {
      await rm(folder, { recursive: true })
    }
    t.diagnostic(`${RESOLUTIONS} resolutions compared, ${accepted} of them accepted`)
    assert.ok(accepted > RESOLUTIONS / 5)
  },
)

test(
  `${PASSWORDS} random password files are read as libpq reads them`,
  { skip, timeout: 5 * MINUTE },
  async (t) => {
    t.diagnostic(`SEED=${SEED}`)
    const folder = await mkdtemp(join(tmpdir(), 'passfile-'))
    const file = join(folder, 'passwords')
    const random = seededRandom(SEED)
    const env = { HOME: '/nonexistent', PGPASSFILE: file }
    let found = 0
    try {
      for (let round = 0; round < PASSWORDS; round++) {
        const { conninfo, passwords } = randomLogin(random)
        await writeFile(file, passwords, { mode: 0o600 })
        const password = resolveConninfo(conninfo, env)['password']?.value ?? ''
        const about = JSON.stringify({ conninfo, passwords })
        assert.deepEqual({ password }, await oracle!.password(conninfo, env), about)
        if (password !== '') found += 1
      }
    } finally {
      await rm(folder, { recursive: true })
    }
    t.diagnostic(`${PASSWORDS} password files compared, ${found} of them with a password`)
    assert.ok(found > PASSWORDS / 10)
  },
)

function assertSameResolution(sources: ReturnType<typeof randomSources>, expected: Answer): void {
  const { conninfo, env } = sources
  const about = JSON.stringify(sources) + (expected instanceof Error ? `\n  libpq: ${expected.message}` : '')
  let ours: ReturnType<typeof resolveConninfo>
  try {
    planConnection(conninfo, env)
    ours = resolveConninfo(conninfo, env)
  } catch (error) {
    assert.ok(error instanceof ConninfoError, about)
    // libpq's own users can do something with such a session.
    if (error.message.startsWith('replication is not supported')) return
    assert.ok(expected instanceof Error, `${about}\n  ours:  ${error.message}`)
    return
  }
  assert.ok(!(expected instanceof Error), about)
  // What libpq knows, but does not tell: its default host, its password file.
  const untold = ['passfile', ...(ours['host']?.source === 'default' ? ['host'] : [])]
  const told = ([name]: readonly [string, unknown]) => !untold.includes(name)
  const values = Object.entries(ours).map(([name, { value }]) => [name, value] as const)
  assert.deepEqual(
    Object.fromEntries(values.filter(told)),
    Object.fromEntries(Object.entries(expected).filter(told)),
    about,
  )
}
