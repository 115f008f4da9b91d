/**
 * Builds the package before it is packed, and where npm installs it from git. In a clone in which nothing is installed
 * yet, what the build needs is installed first.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const cwd = fileURLToPath(new URL('..', import.meta.url))
const npm = process.env.npm_execpath

/** On the other side of stdout, which is for what npm itself prints. */
function runNpm(...args) {
  execFileSync(process.execPath, [npm, ...args], { cwd, stdio: ['ignore', 2, 2] })
}

if (npm === undefined) throw new Error('this script is one of npm’s: run "npm pack", or "make build"')
if (!existsSync(new URL('../node_modules/typescript', import.meta.url))) {
  runNpm('ci', '--ignore-scripts', '--no-audit', '--no-fund')
}
runNpm('run', '--silent', 'build')
