/**
 * Compiles what is newer than its output, one file at a time and without looking at types: a second or two where the
 * compiler itself takes half a minute. `make lint` and `make test` check the types.
 *
 *     node scripts/transpile.js [--watch]
 */
import { readdirSync, readFileSync, statSync, mkdirSync, watch, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const config = join(root, 'tsconfig.json')
const script = fileURLToPath(import.meta.url)

/** The folders of sources, and where each is compiled to. */
const PLACES = [
  ['src', 'dist'],
  ['test', 'build/test'],
  ['demo', 'build/demo'],
  ['bench', 'build/bench'],
  ['matrix', 'build/matrix'],
  ['examples', 'build/examples'],
]

function writtenAt(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

/** The sources below a folder, from there. */
function sourcesIn(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.isDirectory()) {
      // Not what is compiled elsewhere: a page's script, by timeline-page.js, and the projects that tests make.
      if (['node_modules', 'results', 'page', 'projects'].includes(entry.name)) return []
      return sourcesIn(join(folder, entry.name)).map((name) => join(entry.name, name))
    }
    return /(?<!\.d)\.ts$/.test(entry.name) ? [entry.name] : []
  })
}

/** Each source that is newer than its output, or older than what decides how it is compiled. */
function outdated() {
  const rules = Math.max(writtenAt(config), writtenAt(script))
  return PLACES.flatMap(([folder, target]) =>
    sourcesIn(join(root, folder))
      .map((name) => ({
        source: join(root, folder, name),
        output: join(root, target, name.replace(/ts$/, 'js')),
      }))
      .filter(({ source, output }) => Math.max(writtenAt(source), rules) > writtenAt(output)),
  )
}

/** @type {Promise<(source: string) => { text: string, map: object, wrong: string }>} */
let compiler

/** Loads TypeScript, which takes longer than all else here. */
async function loadCompiler() {
  const { default: ts } = await import('typescript')
  const {
    rootDir: _,
    outDir: __,
    ...compilerOptions
  } = ts.readConfigFile(config, ts.sys.readFile).config.compilerOptions
  Object.assign(compilerOptions, {
    esModuleInterop: true,
    declaration: false,
    declarationMap: false,
  })
  // NodeNext would look for what kind of module each is; here those of one folder are of one kind.
  const optionsFor = (module, moduleResolution) =>
    ts.convertCompilerOptionsFromJson({ ...compilerOptions, module, moduleResolution }, root).options
  const library = optionsFor('commonjs', 'node10')
  const programs = optionsFor('esnext', 'bundler')
  const host = {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: () => root,
    getNewLine: () => '\n',
  }
  return (source) => {
    const compilerOptions = source.startsWith(join(root, 'src/')) ? library : programs
    const given = { fileName: source, compilerOptions, reportDiagnostics: true }
    const { outputText, sourceMapText, diagnostics } = ts.transpileModule(readFileSync(source, 'utf8'), given)
    return {
      text: outputText,
      map: JSON.parse(sourceMapText),
      wrong: ts.formatDiagnostics(diagnostics, host),
    }
  }
}

/** True when all is well. */
async function transpile() {
  const files = outdated()
  if (files.length === 0) return true
  compiler ??= loadCompiler()
  const compile = await compiler
  let isWell = true
  for (const { source, output } of files) {
    const { text, map, wrong } = compile(source)
    if (wrong !== '') {
      console.error(wrong)
      isWell = false
      continue
    }
    map.sources = [relative(dirname(output), source)]
    mkdirSync(dirname(output), { recursive: true })
    writeFileSync(`${output}.map`, JSON.stringify(map))
    writeFileSync(output, text)
  }
  return isWell
}

if (!(await transpile())) process.exitCode = 1

if (process.argv.includes('--watch')) {
  let timer
  const later = () => {
    clearTimeout(timer)
    timer = setTimeout(transpile, 50)
  }
  for (const [folder] of PLACES) watch(join(root, folder), { recursive: true }, later)
}
