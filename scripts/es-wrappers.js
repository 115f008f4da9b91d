/**
 * Writes what an `import` loads: for each way into the package a module that exports what the compiled CommonJS module
 * exports. There is one copy of the library in a process, then, however it is loaded: errors, managers and ports are
 * the same for all. Also tells Node that what lies in dist is CommonJS, because the package itself is not.
 *
 *     node scripts/es-wrappers.js
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const require = createRequire(import.meta.url)

/** Leaves a file alone that has the text already, so that nothing is made anew because of its time. */
function write(path, text) {
  if (readText(path) !== text) writeFileSync(path, text)
}

function readText(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function wrap(path) {
  const stem = path.replace(/\.js$/, '')
  const name = basename(path)
  const names = Object.keys(require(path)).sort()
  write(`${stem}.mjs`, `export {\n${names.map((each) => `  ${each},\n`).join('')}} from './${name}'\n`)
  write(`${stem}.d.mts`, `export * from './${name}'\n`)
}

write(join(root, 'dist/package.json'), `${JSON.stringify({ type: 'commonjs' }, null, 2)}\n`)
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
for (const way of Object.values(exports)) {
  if (typeof way === 'object') wrap(join(root, way.default.default))
}
