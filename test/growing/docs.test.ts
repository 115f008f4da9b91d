/** The page about outgrowing one connection: its examples compile. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { checkTypes, readExamples } from '../support/examples.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))

test('every example of the page passes the compiler', () => {
  const page = readFileSync(join(root, 'docs/growing.md'), 'utf8')
  const examples = readExamples('docs/growing.md', page)
  assert.ok(examples.length >= 4)
  assert.deepEqual(checkTypes(examples, {}, root), [])
})
