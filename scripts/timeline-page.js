/**
 * Makes the script and the style of a timeline's page, each one string, from the files in src/timeline/page. The types
 * of the script are checked as a browser's; its modules become functions in one text, so that a page needs no other
 * file. Does nothing where the result is newer than all that it is made from.
 *
 *     node scripts/timeline-page.js
 */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const sources = join(root, 'src')
const folder = join(sources, 'timeline')
const page = join(folder, 'page')
const output = join(root, 'dist/timeline/page-source.js')

function writtenAt(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

function isOutdated() {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  const paths = [fileURLToPath(import.meta.url), ...names.map((name) => join(folder, name))]
  return Math.max(...paths.map(writtenAt)) > writtenAt(output)
}

/** Compiles the modules. Gives their texts by their names, or null where types are wrong. */
async function compile() {
  const { default: ts } = await import('typescript')
  const config = ts.getParsedCommandLineOfConfigFile(
    join(page, 'tsconfig.json'),
    {
      noEmit: false,
      outDir: sources,
      // Modules that can be put into functions.
      module: ts.ModuleKind.CommonJS,
      moduleResolution: ts.ModuleResolutionKind.Node10,
      verbatimModuleSyntax: false,
    },
    { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (diagnostic) => console.error(diagnostic.messageText) },
  )
  const program = ts.createProgram(config.fileNames, config.options)
  const wrong = [...config.errors, ...ts.getPreEmitDiagnostics(program)]
  if (wrong.length > 0) {
    const host = {
      getCanonicalFileName: (name) => name,
      getCurrentDirectory: () => root,
      getNewLine: () => '\n',
    }
    console.error(ts.formatDiagnostics(wrong, host))
    return null
  }
  const modules = new Map()
  program.emit(undefined, (name, text) => modules.set(relative(sources, name), text))
  return modules
}

/** The modules that one needs, itself among them: others were compiled for their types alone. */
function neededBy(name, modules, found = new Set()) {
  if (found.has(name)) return found
  found.add(name)
  for (const [, path] of modules.get(name).matchAll(/require\("(.+?)"\)/g)) {
    neededBy(posix.join(posix.dirname(name), path), modules, found)
  }
  return found
}

/** One text that loads each module when it is first required, as Node does. */
function bundle(modules, main) {
  const entries = [...neededBy(main, modules)].map((name) => {
    const text = modules.get(name).replace(/^"use strict";\n/, '')
    return `${JSON.stringify(name)}: (exports, require) => {\n${text}}`
  })
  return `'use strict'
{
const modules = {
${entries.join(',\n')}
}
const loaded = {}
const load = (name) => {
  if (loaded[name] === undefined) modules[name]((loaded[name] = {}), (path) => load(resolve(name, path)))
  return loaded[name]
}
const resolve = (from, path) => new URL(path, 'file:///' + from).pathname.slice(1)
load(${JSON.stringify(main)})
}`
}

/** What is in a script or a style must not end it. */
function checkSafe(text) {
  if (/<\/(script|style)|<!--/i.test(text))
    throw new Error('the page would end in the middle of its script or style')
  return text
}

if (isOutdated()) {
  const modules = await compile()
  if (modules === null) process.exitCode = 1
  else {
    const script = checkSafe(bundle(modules, 'timeline/page/main.js'))
    const style = checkSafe(readFileSync(join(page, 'style.css'), 'utf8'))
    mkdirSync(dirname(output), { recursive: true })
    writeFileSync(
      output,
      `exports.SCRIPT = ${JSON.stringify(script)}\nexports.STYLE = ${JSON.stringify(style)}\n`,
    )
  }
}
