/**
 * Makes a release of what is committed: checks that all is well, dates the changelog, sets the version, commits and
 * tags. It pushes nothing: the tag, once it is pushed, makes .github/workflows/publish.yml publish it.
 *
 *     node scripts/release.js VERSION [--unchecked]
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const at = (name) => `${root}${name}`

function run(program, ...args) {
  return execFileSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()
}

function show(program, ...args) {
  execFileSync(program, args, { cwd: root, stdio: 'inherit' })
}

function refuse(reason) {
  console.error(`no release: ${reason}`)
  process.exit(1)
}

/** Whether one version comes behind another; of what has the form of `1.2.3`. */
function isLater(version, other) {
  const [a, b] = [version, other].map((text) => text.split('.').map(Number))
  const i = a.findIndex((part, n) => part !== b[n])
  return i !== -1 && a[i] > b[i]
}

/** The changelog with today in the place of "Unreleased". */
function dateChangelog(version) {
  const text = readFileSync(at('CHANGELOG.md'), 'utf8')
  const heading = /^## Unreleased(?:: [\d.]+)?$/m
  if (!heading.test(text)) refuse('CHANGELOG.md has no heading "## Unreleased", so nothing has changed')
  return text.replace(heading, `## ${version} (${new Date().toISOString().slice(0, 10)})`)
}

/** Of the versions that are there, the newest; tags tell what was released. */
function checkVersion(version) {
  if (!/^\d+\.\d+\.\d+$/.test(version)) refuse(`a version is three numbers, and ${version} is not`)
  const tags = run('git', 'tag', '--list', 'v*').split('\n').filter(Boolean)
  const later = tags.find((tag) => !isLater(version, tag.slice(1)))
  if (later !== undefined) refuse(`${version} does not come behind ${later}`)
}

function setVersion(version) {
  for (const name of ['package.json', 'package-lock.json']) {
    const manifest = JSON.parse(readFileSync(at(name), 'utf8'))
    manifest.version = version
    if (manifest.packages !== undefined) manifest.packages[''].version = version
    writeFileSync(at(name), `${JSON.stringify(manifest, null, 2)}\n`)
  }
}

const args = process.argv.slice(2)
const [version, ...others] = args.filter((arg) => arg !== '--unchecked')
if (version === undefined || others.length > 0) refuse('usage: node scripts/release.js VERSION [--unchecked]')
checkVersion(version)
if (run('git', 'status', '--porcelain') !== '') refuse('there are changes that are not committed')
const changelog = dateChangelog(version)
if (!args.includes('--unchecked')) show('bash', '.ci/run')
writeFileSync(at('CHANGELOG.md'), changelog)
setVersion(version)
show('git', 'commit', '--quiet', '--all', '--message', `chore: release ${version}`)
show('git', 'tag', '--annotate', `v${version}`, '--message', `v${version}`)
console.log(`v${version} is committed and tagged; "git push --follow-tags" publishes it`)
