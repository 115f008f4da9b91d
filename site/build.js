/** Builds the site: the pages, the reference, VitePress, and a look at what came out of it. */
import { rmSync } from 'node:fs'
import { relative } from 'node:path'
import { build } from 'vitepress'
import { checkSite } from './check-site.js'
import { OUT, PAGES, ROOT } from './places.js'
import { writePages } from './write-pages.js'
import { writeReference } from './write-reference.js'

try {
  rmSync(PAGES, { recursive: true, force: true })
  rmSync(OUT, { recursive: true, force: true })
  writePages()
  await writeReference()
  await build(import.meta.dirname)
  const { pages, links } = checkSite()
  console.log(
    `${relative(ROOT, OUT)}/ has the site: ${pages} pages, ${links} links, each of which leads somewhere`,
  )
  console.log('to look at it: npm --prefix site run preview')
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
