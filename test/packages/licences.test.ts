/** Every package that is installed, for users or for ourselves, has a licence that we know and accept. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { pathOf } from '../support/root.js'

interface Locked {
  readonly license?: string
  readonly resolved?: string
  readonly dev?: boolean
  readonly peer?: boolean
  readonly optional?: boolean
}

/** What users install asks for nothing but that its notice is kept. */
const FOR_USERS: ReadonlySet<string> = new Set(['MIT', 'ISC'])

/** What only we run may ask for more, because none of it is passed on. */
const FOR_US: ReadonlySet<string> = new Set([
  ...FOR_USERS,
  '0BSD',
  '(Apache-2.0 OR BSD-3-Clause)',
  '(MIT OR CC0-1.0)',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC-BY-4.0',
  'CC0-1.0',
  'MPL-2.0',
  'Python-2.0',
  'Unlicense',
])

/** Their manifests do not say it. Each was looked up in the file LICENSE of its package. */
const LOOKED_UP: Readonly<Record<string, string>> = { 'node_modules/get-stack-trace': 'BSD-3-Clause' }

const locks = readdirSync(pathOf(), { recursive: true, encoding: 'utf8' }).filter(
  (name) => name.endsWith('package-lock.json') && !name.includes('node_modules/'),
)

function readLock(name: string): [path: string, locked: Locked][] {
  const { packages } = JSON.parse(readFileSync(pathOf(name), 'utf8')) as { packages: Record<string, Locked> }
  return Object.entries(packages)
}

for (const name of locks) {
  test(`${name}: each licence is known, and no registry is named`, () => {
    for (const [path, { license = LOOKED_UP[path], resolved }] of readLock(name)) {
      assert.ok(license !== undefined && FOR_US.has(license), `${path}: ${license}`)
      assert.equal(resolved, undefined, path)
    }
  })
}

test('what users install is under the MIT or the ISC license', () => {
  const theirs = readLock('package-lock.json').filter(([path, { dev, peer }]) => path !== '' && !dev && !peer)
  assert.ok(theirs.length > 10, `${theirs.length} packages`)
  for (const [path, { license = '' }] of theirs) assert.ok(FOR_USERS.has(license), `${path}: ${license}`)
})
