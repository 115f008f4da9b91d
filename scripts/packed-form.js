/**
 * What is different in the package, for as long as it is packed. Links and pictures that are not in it are absolute; in
 * the repository they stay relative, so that they hold in a clone and in a fork. README.md is shown where nothing else
 * is, so that all of its are. And package.json has no scripts: they are for work on the repository, and npm warns of a
 * package that has one for installing from git.
 *
 *     node scripts/packed-form.js take
 *     node scripts/packed-form.js take-manifest
 *     node scripts/packed-form.js leave
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { ROOT, REPOSITORY } from '../site/places.js'

const RAW = REPOSITORY.replace('//github.com/', '//raw.githubusercontent.com/')
const PAGES = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'))

/** Paths that differ, each with what makes the other form of its text. */
const DOCUMENTS = [
  ['README.md', (text) => withAbsoluteLinks(text, '.', () => false)],
  ...PAGES.map((name) => [`docs/${name}`, (text) => withAbsoluteLinks(text, 'docs', isPacked)]),
]
/** npm looks for its script `prepare` after `prepack` has run, so that this one is taken later. */
const MANIFEST = ['package.json', withoutScripts]
const PACKING = ['pack', 'publish']

/** An image shows what is in the file, so it needs the file itself and not the page about it. */
const LINK = /(!?)(\[(?:[^\][]|\[[^\]]*\])*\])\((?![a-z]+:|#)([^()\s]+)\)/g

function withAbsoluteLinks(text, folder, isReached) {
  return text.replace(LINK, (link, image, label, relative) => {
    const path = posix.join(folder, relative)
    if (isReached(path)) return link
    return image === '' ? `${label}(${REPOSITORY}/blob/main/${path})` : `!${label}(${RAW}/main/${path})`
  })
}

/** As package.json has it in `files`. */
function isPacked(path) {
  return /^(?:docs\/[^/]+\.md|(?:README|CHANGELOG)\.md|LICENSE)(?:#|$)/.test(path)
}

function withoutScripts(text) {
  const { scripts: _, ...rest } = JSON.parse(text)
  return `${JSON.stringify(rest, null, 2)}\n`
}

const originalOf = (path) => join(ROOT, 'build/originals', path)

function keepOriginals() {
  for (const [path] of [...DOCUMENTS, MANIFEST]) {
    mkdirSync(dirname(originalOf(path)), { recursive: true })
    copyFileSync(join(ROOT, path), originalOf(path))
  }
}

function take([path, form]) {
  writeFileSync(join(ROOT, path), form(readFileSync(originalOf(path), 'utf8')))
}

function leave() {
  for (const [path] of [...DOCUMENTS, MANIFEST]) renameSync(originalOf(path), join(ROOT, path))
}

const WAYS = {
  take: () => {
    keepOriginals()
    DOCUMENTS.forEach(take)
  },
  // The same script runs where npm installs, in this folder or from git: package.json stays as it is then.
  'take-manifest': () => PACKING.includes(process.env.npm_command) && take(MANIFEST),
  leave,
}

const way = WAYS[process.argv[2]]
if (way === undefined) throw new Error(`usage: packed-form.js ${Object.keys(WAYS).join('|')}`)
way()
