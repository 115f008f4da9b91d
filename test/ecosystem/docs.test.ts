/** The page about other libraries: its examples compile, and its table is about what is installed here. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { checkTypes, readExamples, readTable } from '../support/examples.js'

const root = findRoot()
const page = readFileSync(new URL('docs/ecosystem.md', root), 'utf8')

/** The tests are compiled into folders of different depth. */
function findRoot(): URL {
  for (let folder = new URL('..', import.meta.url); ; folder = new URL('..', folder)) {
    try {
      readFileSync(new URL('package.json', folder))
      return folder
    } catch {
      assert.notEqual(folder.pathname, '/')
    }
  }
}

test('every example of the page passes the compiler', () => {
  const surroundings = {
    manager: "import('pg-managed-connection').ManagedConnection",
    pool: "import('pg-managed-connection/pool').ManagedPool",
  }
  const examples = readExamples('docs/ecosystem.md', page)
  assert.ok(examples.length > 5)
  assert.deepEqual(checkTypes(examples, surroundings, fileURLToPath(root)), [])
})

for (const name of ['pglite', 'opentelemetry']) {
  test(`every example of docs/${name}.md passes the compiler`, () => {
    const text = readFileSync(new URL(`docs/${name}.md`, root), 'utf8')
    const examples = readExamples(`docs/${name}.md`, text)
    assert.ok(examples.length > 0)
    const surroundings = { manager: "import('pg-managed-connection').ManagedConnection" }
    assert.deepEqual(checkTypes(examples, surroundings, fileURLToPath(root)), [])
  })
}

test('the versions of the table are those that the tests run with', () => {
  for (const [library = '', version] of readTable(page, 'library')) {
    const text = readFileSync(new URL(`node_modules/${library}/package.json`, root), 'utf8')
    assert.equal((JSON.parse(text) as { version: string }).version, version, library)
  }
})
