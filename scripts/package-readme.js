/**
 * Makes the links and pictures of README.md absolute while the package is packed, because it is shown where the
 * repository is not. In the repository they stay relative, so that they hold in a clone and in a fork.
 *
 *     node scripts/package-readme.js pack
 *     node scripts/package-readme.js restore
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { REPOSITORY } from '../site/places.js'

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))
const README = at('README.md')
const ORIGINAL = at('build/README.original.md')

/** An image shows what is in the file, so it needs the file itself and not the page about it. */
const LINK = /(!?)(\[(?:[^\][]|\[[^\]]*\])*\])\((?![a-z]+:|#)([^()\s]+)\)/g

function pack() {
  const raw = REPOSITORY.replace('//github.com/', '//raw.githubusercontent.com/')
  const text = readFileSync(README, 'utf8')
  mkdirSync(at('build'), { recursive: true })
  writeFileSync(ORIGINAL, text)
  const moved = text.replace(LINK, (_, image, label, path) =>
    image === '' ? `${label}(${REPOSITORY}/blob/main/${path})` : `!${label}(${raw}/main/${path})`,
  )
  writeFileSync(README, moved)
}

if (process.argv[2] === 'pack') pack()
else if (process.argv[2] === 'restore') renameSync(ORIGINAL, README)
else throw new Error('usage: package-readme.js pack|restore')
