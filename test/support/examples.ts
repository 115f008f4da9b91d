/** Reads the examples of documents and sources, checks their types, and runs them. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { inspect } from 'node:util'
import ts from 'typescript'

/** A piece of TypeScript that somebody reads. */
export interface Example {
  /** Where it stands: `README.md:12`. */
  readonly place: string
  readonly code: string
}

/** What an example may use without saying where it comes from: names and their types. */
export type Surroundings = Readonly<Record<string, string>>

const FENCED = /^[ \t]*(\*[ \t])?```ts[ \t]*\n([^]*?)^[ \t]*(?:\*[ \t])?```[ \t]*$/gm

/** The examples in a text, Markdown or a source with JSDoc comments. */
export function readExamples(name: string, text: string): Example[] {
  return [...text.matchAll(FENCED)].map(({ 1: star, 2: body = '', index }) => ({
    place: `${name}:${text.slice(0, index).split('\n').length}`,
    code: star === undefined ? body : body.replace(/^[ \t]*\*[ \t]?/gm, ''),
  }))
}

/**
 * The example as a module which exports the function `example`, its code in a block within. Its first line is all
 * our own, so that the code's lines are numbered as below its fence.
 */
function toModule({ code }: Example, surroundings: Surroundings): string {
  const source = ts.createSourceFile('example.ts', code, ts.ScriptTarget.Latest, true)
  const imports = source.statements.filter(ts.isImportDeclaration)
  let body = code
  for (const { pos, end } of imports.toReversed()) {
    const blank = body.slice(pos, end).replace(/[^\n]/g, '')
    body = body.slice(0, pos) + blank + body.slice(end)
  }
  const header = imports.map((one) => one.getText(source).replaceAll('\n', ' ')).join('; ')
  const names = Object.keys(surroundings).join(', ')
  const types = Object.entries(surroundings).map(([name, type]) => `${name}: ${type}`)
  return `${header}; export async function example({ ${names} }: { ${types.join('; ')} }) { {\n${body}\n} }`
}

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: ['node'],
  strict: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: true,
  noEmit: true,
}

/** What TypeScript has against the examples, as if they were files in `folder`; empty if all is well. */
export function checkTypes(
  examples: readonly Example[],
  surroundings: Surroundings,
  folder: string,
): string[] {
  const files = new Map(examples.map((example, i) => [join(folder, `example-${i}.ts`), example]))
  const host = ts.createCompilerHost(OPTIONS)
  const onDisk = { ...host }
  const textOf = (file: string): string | undefined => {
    const example = files.get(file)
    return example && toModule(example, surroundings)
  }
  host.getCurrentDirectory = () => folder
  host.fileExists = (file) => files.has(file) || onDisk.fileExists(file)
  host.readFile = (file) => textOf(file) ?? onDisk.readFile(file)
  host.getSourceFile = (file, language, ...rest) => {
    const text = textOf(file)
    return text === undefined
      ? onDisk.getSourceFile(file, language, ...rest)
      : ts.createSourceFile(file, text, language)
  }
  const program = ts.createProgram([...files.keys()], OPTIONS, host)
  return ts.getPreEmitDiagnostics(program).map((diagnostic) => describe(diagnostic, files))
}

function describe({ file, start, messageText }: ts.Diagnostic, files: ReadonlyMap<string, Example>): string {
  const message = ts.flattenDiagnosticMessageText(messageText, ' ')
  if (file === undefined) return message
  const { line } = file.getLineAndCharacterOfPosition(start ?? 0)
  const place = files.get(file.fileName)?.place ?? file.fileName
  return `${place}, line ${line}: ${message} (${file.text.split('\n')[line]?.trim()})`
}

const CLAIM = /^\/\/ (→|throws) (.+)$/

/** Whether a comment in the example says what a statement gives. */
export function makesClaims({ code }: Example): boolean {
  return writtenClaims(code) > 0
}

function writtenClaims(code: string): number {
  return code.match(/\/\/ (?:→|throws) /g)?.length ?? 0
}

/**
 * Runs an example. What it says in a comment behind a statement has to be so: `// → 42` is the value of the
 * expression, as `util.inspect` shows it; `// throws RangeError` is what the expression throws or rejects with.
 */
export async function runExample(example: Example, given: Readonly<Record<string, unknown>>): Promise<void> {
  const text = toModule(example, Object.fromEntries(Object.keys(given).map((name) => [name, 'never'])))
  const { code, imports } = withClaims(text, example)
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.CommonJS,
      esModuleInterop: true,
    },
  })
  const modules = new Map<string, unknown>()
  for (const name of imports) modules.set(name, { ...(await import(name)), __esModule: true })
  const exported: { example?: (given: object) => Promise<void> } = {}
  const load = new Function('exports', 'require', '$value', '$throws', outputText)
  load(exported, (name: string) => modules.get(name), assertValue, assertThrows)
  await exported.example!(given)
}

/** Makes assertions of the comments, and finds the names of the modules that the code needs. */
function withClaims(text: string, { place, code }: Example): { code: string; imports: string[] } {
  const source = ts.createSourceFile('example.ts', text, ts.ScriptTarget.Latest, true)
  const edits: { pos: number; insert: string }[] = []
  const visit = (node: ts.Node): void => {
    ts.forEachChild(node, visit)
    if (!ts.isExpressionStatement(node)) return
    const [comment] = ts.getTrailingCommentRanges(text, node.end) ?? []
    const claim = comment && CLAIM.exec(text.slice(comment.pos, comment.end))
    if (!claim) return
    const { expression } = node
    const [open, close] = claim[1] === '→' ? ['$value((', '), '] : ['await $throws(async () => (', '), ']
    edits.push({ pos: expression.getStart(source), insert: open! })
    edits.push({ pos: expression.end, insert: `${close}${JSON.stringify(claim[2])})` })
  }
  visit(source)
  assert.equal(edits.length / 2, writtenClaims(code), `${place}: each claim stands behind a statement`)
  let result = text
  for (const { pos, insert } of edits.sort((a, b) => b.pos - a.pos)) {
    result = result.slice(0, pos) + insert + result.slice(pos)
  }
  const imports = source.statements
    .filter(ts.isImportDeclaration)
    .map(({ moduleSpecifier }) => (moduleSpecifier as ts.StringLiteral).text)
  return { code: result, imports }
}

function assertValue(actual: unknown, expected: string): void {
  assert.equal(inspect(actual, { breakLength: Infinity }), expected)
}

async function assertThrows(work: () => Promise<unknown>, name: string): Promise<void> {
  let value: unknown
  try {
    value = await work()
  } catch (error) {
    const { name: own, constructor } = error as Error
    if (own !== name && constructor.name !== name) throw error
    return
  }
  assert.fail(`expected ${name}, but got the value ${inspect(value)}`)
}

/** The rows of the Markdown table whose first header is `title`, each a list of its cells. */
export function readTable(text: string, title: string): string[][] {
  const lines = text.split('\n')
  const head = lines.findIndex((line) => line.startsWith('|') && cells(line)[0] === title)
  assert.ok(head >= 0, `there is a table that begins with "${title}"`)
  const rows = lines.slice(head + 2)
  const end = rows.findIndex((line) => !line.startsWith('|'))
  return rows.slice(0, end < 0 ? undefined : end).map(cells)
}

function cells(line: string): string[] {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim())
}

/** What is quoted as code in a text. */
export function quoted(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)
}
