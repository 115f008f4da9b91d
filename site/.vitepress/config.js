import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig } from 'vitepress'
import { nav, sidebar } from '../navigation.js'
import { BASE, manifest, OUT, PAGES, REPOSITORY } from '../places.js'
import { stackTables } from '../stacked-tables.js'

/** Folders of the reference. */
const KINDS = {
  classes: 'Classes',
  functions: 'Functions',
  interfaces: 'Interfaces',
  'type-aliases': 'Types',
  variables: 'Variables',
}

export default defineConfig({
  title: manifest.name,
  description: manifest.description,
  lang: 'en',
  base: BASE,
  srcDir: PAGES,
  outDir: OUT,
  cacheDir: join(PAGES, '../cache'),
  // Files as they are: any server for files can serve them.
  cleanUrls: false,
  head: [['link', { rel: 'icon', type: 'image/svg+xml', href: `${BASE}icon.svg` }]],
  markdown: {
    anchor: { slugify: toAnchor },
    config: stackTables,
    theme: { light: 'github-light', dark: 'github-dark' },
  },
  vite: {
    publicDir: join(import.meta.dirname, '../public'),
    // The index of the search is one file, and is loaded by who searches.
    build: { chunkSizeWarningLimit: 2_000 },
  },
  themeConfig: {
    nav: [...nav, { text: `v${manifest.version}`, link: '/changelog' }],
    sidebar: { '/': sidebar, '/api/': apiSidebar() },
    outline: [2, 3],
    search: { provider: 'local' },
    socialLinks: [{ icon: 'github', link: REPOSITORY }],
    docFooter: { prev: false, next: false },
    externalLinkIcon: true,
  },
})

/** As GitHub makes them, for which the links were written. */
function toAnchor(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '')
    .replaceAll(' ', '-')
}

/** The reference by entry point, and in it by kind. */
function apiSidebar() {
  const subpaths = Object.keys(manifest.exports).filter((name) => !name.endsWith('.json'))
  const items = subpaths.map((subpath) => {
    const name = subpath.replace(/^\./, manifest.name)
    const folder = `api/${manifest.name}${subpath.slice(1)}`
    return {
      text: subpath === '.' ? name : subpath.slice(1),
      link: subpath === '.' ? '/api/' : `/${folder}/`,
      collapsed: subpath !== '.',
      items: Object.entries(KINDS).flatMap(([kind, text]) => {
        const items = members(folder, kind)
        return items.length === 0 ? [] : { text, collapsed: true, items }
      }),
    }
  })
  return [{ text: 'API', items }]
}

function members(folder, kind) {
  const place = join(PAGES, folder, kind)
  if (!existsSync(place)) return []
  return readdirSync(place)
    .sort()
    .map((file) => file.replace('.md', ''))
    .map((name) => ({ text: name, link: `/${folder}/${kind}/${name}` }))
}
