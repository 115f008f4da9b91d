/** What a reader has to hold in the head at once is small: files, functions and classes of the source. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import ts from 'typescript'
import { pathOf } from '../support/root.js'

const MOST = { 'lines of a file': 320, 'lines of a function': 40, fields: 14, members: 30 }

/** What is too large in one file's text. */
function tooLarge(name: string, text: string): string[] {
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true)
  const found: string[] = []
  const check = (what: string, measure: keyof typeof MOST, count: number): void => {
    if (count > MOST[measure]) found.push(`${what} has ${count} ${measure}`)
  }
  const visit = (node: ts.Node): void => {
    if (ts.isClassDeclaration(node)) {
      const fields = node.members.filter(
        (member) => ts.isPropertyDeclaration(member) && !isMethodLike(member),
      )
      check(`${name}: class ${node.name?.text}`, 'fields', fields.length)
      check(`${name}: class ${node.name?.text}`, 'members', node.members.length - fields.length)
    }
    if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
      check(`${name}: ${node.name?.getText() ?? 'a function'}`, 'lines of a function', linesOf(node, source))
    }
    ts.forEachChild(node, visit)
  }
  check(name, 'lines of a file', text.split('\n').length - 1)
  visit(source)
  return found
}

/** An arrow function that is bound to its object. */
function isMethodLike({ initializer }: ts.PropertyDeclaration): boolean {
  return initializer !== undefined && ts.isArrowFunction(initializer)
}

function linesOf(node: ts.Node, source: ts.SourceFile): number {
  const lineAt = (position: number): number => source.getLineAndCharacterOfPosition(position).line
  return lineAt(node.end) - lineAt(node.getStart()) + 1
}

test('no file, function or class of the source is too large', () => {
  const names = readdirSync(pathOf('src'), { recursive: true, encoding: 'utf8' })
  const sources = names.filter((name) => name.endsWith('.ts'))
  assert.ok(sources.length > 100)
  assert.deepEqual(
    sources.flatMap((name) => tooLarge(name, readFileSync(pathOf(`src/${name}`), 'utf8'))),
    [],
  )
})

test('what is too large is found', () => {
  const field = (n: number): string => `f${n} = 1`
  const method = (n: number): string => `m${n}() {}`
  const list = (count: number, make: (n: number) => string): string =>
    Array.from({ length: count }, (_, n) => make(n)).join('\n')
  const text = `class Large {\n${list(15, field)}\n${list(31, method)}\nbound = () => {}\n}\nfunction long() {\n${list(40, String)}\n}`
  assert.deepEqual(tooLarge('large.ts', text), [
    'large.ts: class Large has 15 fields',
    'large.ts: class Large has 32 members',
    'large.ts: long has 42 lines of a function',
  ])
})
