/** The layers of the source: imports go down only. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { pathOf, root } from '../support/root.js'
import { findCycles, importsOf, readImports, type SourceImport } from '../support/source-graph.js'

/**
 * The layers, the highest first. A name that ends in a slash is a folder of src/, any other a file there; `*` is
 * every other file directly in src/. A file may import from its own layer and from those below.
 */
const LAYERS: readonly (readonly string[])[] = [
  // The command explains each step of connecting, so it looks below the public surface; nothing imports it.
  ['cli/'],
  ['pool/', 'worker/', 'otel/', 'pglite/', 'timeline/', 'sandbox/', 'leader/'],
  ['index.ts'],
  ['face/'],
  // A broker over a broker.
  ['trace/'],
  ['broker/'],
  ['lease/', 'listen/', 'lead/'],
  ['commit/'],
  ['backend/'],
  ['pipeline/'],
  ['connect/'],
  ['pg/'],
  ['conninfo/'],
  ['diagnostics/'],
  // Where the faces and the brokers meet: nothing but types.
  ['api/'],
  ['sql/'],
  ['errors.ts', 'errors/', 'events.ts', 'options.ts', 'util/'],
]

/** Only here is `pg` imported for more than its types. */
const DRIVER = 'pg/pg.ts'

const imports = readImports(pathOf('src'))

test('there are imports to check', () => {
  assert.ok(imports.length > 0)
})

test('imports go down only, from layer to layer', () => {
  assertNone(imports.filter((one) => !one.isPackage && layerOf(one.from) > layerOf(one.to)))
})

test('no file imports itself by way of others, but for types within a folder', () => {
  const folderOf = (file: string): string => file.slice(0, file.lastIndexOf('/'))
  const counts = ({ from, to, typeOnly }: SourceImport): boolean =>
    !typeOnly || folderOf(from) !== folderOf(to)
  assert.deepEqual(findCycles(imports.filter(counts)), [])
})

test('pg is imported for more than its types in one place', () => {
  const values = imports.filter(({ to, typeOnly }) => to === 'pg' && !typeOnly)
  assert.deepEqual([...new Set(values.map(({ from }) => from))], [DRIVER])
})

test('only packages that are installed with this one are imported', () => {
  const text = readFileSync(new URL('package.json', root), 'utf8')
  const { dependencies = {}, peerDependencies = {} } = JSON.parse(text) as Record<string, object | undefined>
  const allowed = new Set([...Object.keys(dependencies), ...Object.keys(peerDependencies)])
  const isForeign = ({ to, isPackage }: SourceImport): boolean =>
    isPackage && !to.startsWith('node:') && !allowed.has(packageOf(to))
  assertNone(imports.filter(isForeign))
})

/** `name` of `name/some/file.js`, and `@scope/name` of `@scope/name/some/file.js`. */
function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}

test('the reader of imports sees every form of them', () => {
  const text = `
    import a from './a.js'
    import type { B } from '../b.js'
    export * from './c.js'
    export type { D } from 'd'
    const e = await import('./e.js')
    let f: import('./f.js').F`
  const seen = importsOf('folder/file.ts', text).map(
    ({ to, typeOnly }) => `${to}${typeOnly ? ' (type)' : ''}`,
  )
  assert.deepEqual(seen, [
    'folder/a.ts',
    'b.ts (type)',
    'folder/c.ts',
    'd (type)',
    'folder/e.ts',
    'folder/f.ts (type)',
  ])
})

test('the reader of imports finds a circle', () => {
  const circle = [
    ...importsOf('a.ts', "import './b.js'"),
    ...importsOf('b.ts', "import './c.js'; import './a.js'"),
  ]
  assert.deepEqual(findCycles(circle), [['a.ts', 'b.ts', 'a.ts']])
})

/** The number of the layer a file is in; the highest is 0. */
function layerOf(file: string): number {
  const named = LAYERS.findIndex((layer) => layer.some((part) => contains(part, file)))
  if (named >= 0) return named
  if (file.includes('/')) assert.fail(`the layer of ${file} is not in the table at the top of this test`)
  return LAYERS.findIndex((layer) => layer.includes('*'))
}

function contains(part: string, file: string): boolean {
  return part.endsWith('/') ? file.startsWith(part) : file === part
}

function assertNone(wrong: readonly SourceImport[]): void {
  const lines = wrong.map(
    ({ from, to, typeOnly }) => `${from} imports ${to}${typeOnly ? ' (its types)' : ''}`,
  )
  assert.deepEqual(lines, [])
}
