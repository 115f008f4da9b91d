/** Reads which file imports what. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import ts from 'typescript'

/** One import, `export … from`, `import('…')` or type import. */
export interface SourceImport {
  /** The importing file, relative to the folder that was read. */
  readonly from: string
  /** The imported file, relative to that folder, or the name of a package. */
  readonly to: string
  readonly isPackage: boolean
  /** It vanishes when it is compiled. */
  readonly typeOnly: boolean
}

/** All imports of the TypeScript files in a folder. */
export function readImports(folder: string): SourceImport[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  const sources = names.map((name) => name.replaceAll('\\', '/')).filter((name) => name.endsWith('.ts'))
  return sources.sort().flatMap((name) => importsOf(name, readFileSync(join(folder, name), 'utf8')))
}

/** The imports of one file's text. */
export function importsOf(from: string, text: string): SourceImport[] {
  const found: SourceImport[] = []
  const visit = (node: ts.Node): void => {
    const specifier = specifierOf(node)
    if (specifier !== undefined) found.push({ from, typeOnly: isTypeOnly(node), ...resolve(from, specifier) })
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(from, text, ts.ScriptTarget.Latest, true))
  return found
}

function specifierOf(node: ts.Node): string | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return literal(node.moduleSpecifier)
  if (ts.isImportTypeNode(node))
    return ts.isLiteralTypeNode(node.argument) ? literal(node.argument.literal) : undefined
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    return literal(node.arguments[0])
  }
  return undefined
}

function literal(node: ts.Node | undefined): string | undefined {
  return node !== undefined && ts.isStringLiteral(node) ? node.text : undefined
}

function isTypeOnly(node: ts.Node): boolean {
  if (ts.isImportDeclaration(node)) return node.importClause?.isTypeOnly === true
  if (ts.isExportDeclaration(node)) return node.isTypeOnly
  return ts.isImportTypeNode(node)
}

function resolve(from: string, specifier: string): { to: string; isPackage: boolean } {
  if (!specifier.startsWith('.')) return { to: specifier, isPackage: true }
  const path = posix.join(posix.dirname(from), specifier)
  return { to: path.replace(/\.js$/, '.ts'), isPackage: false }
}

/** The circles among the imports, each as the files on the way and the first again at its end. */
export function findCycles(imports: readonly SourceImport[]): string[][] {
  const edges = new Map<string, string[]>()
  for (const { from, to, isPackage } of imports) {
    if (!isPackage) edges.set(from, [...(edges.get(from) ?? []), to])
  }
  const cycles: string[][] = []
  const done = new Set<string>()
  const walk = (file: string, path: readonly string[]): void => {
    const start = path.indexOf(file)
    if (start >= 0) cycles.push([...path.slice(start), file])
    if (start >= 0 || done.has(file)) return
    for (const next of edges.get(file) ?? []) walk(next, [...path, file])
    done.add(file)
  }
  for (const file of edges.keys()) walk(file, [])
  return cycles
}
