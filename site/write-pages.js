/**
 * Makes pages for VitePress of README.md, CHANGELOG.md and docs/, which stay as they are. A link to another page leads
 * to that page of the site, any other relative link to the file in the repository. A drawing that has a dark half
 * becomes two, because a browser would choose by the system and not by the switch of the site.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, posix } from 'node:path'
import { checkNavigation } from './navigation.js'
import { PAGES, REPOSITORY, ROOT } from './places.js'

const PICTURES = 'pictures'

/** Source files, by their paths in the repository, and the pages that are made of them. */
const pages = new Map([
  ['README.md', 'index.md'],
  ['CHANGELOG.md', 'changelog.md'],
  ['docs/README.md', 'contents.md'],
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md') && name !== 'README.md')
    .map((name) => [`docs/${name}`, name]),
])

export function writePages() {
  mkdirSync(join(PAGES, PICTURES), { recursive: true })
  checkNavigation([...pages.values()].map((page) => basename(page, '.md')).filter((name) => name !== 'index'))
  for (const [source, page] of pages) {
    const text = moveLinks(readFileSync(join(ROOT, source), 'utf8'), source)
    writeFileSync(join(PAGES, page), page === 'index.md' ? toHome(text) : withSource(text, source))
  }
}

/** The first page: what stands above the first example is the head of the page. */
function toHome(text) {
  const [, title, promise, rest] = /^# (.+)\n\n([^]+?)\n\n(```[^]+)$/.exec(text)
  const front = {
    layout: 'home',
    title,
    titleTemplate: ':title',
    hero: {
      name: title,
      tagline: promise.replaceAll('\n', ' '),
      actions: [
        { theme: 'brand', text: 'Start', link: '/opening-and-closing' },
        { theme: 'alt', text: 'All pages', link: '/contents' },
        { theme: 'alt', text: 'API', link: '/api/' },
      ],
    },
  }
  return `---\n${JSON.stringify(front)}\n---\n\n${rest}`
}

function withSource(text, source) {
  return `---\n${JSON.stringify({ source })}\n---\n\n${text}`
}

/** Stands for code that is put aside: of Unicode's private use, so that no text has it. */
const MARK = '\uE000'

const CODE = /(^[ \t]*```[^]*?^[ \t]*```[ \t]*$|`[^`\n]+`)/m
const LINK = /(!?)\[((?:[^\][]|\[[^\]]*\])*)\]\(([^()\s]+)\)/g

/** The same text, with links that hold on the site. Code is left alone, but for code in the text of a link. */
function moveLinks(text, source) {
  const kept = []
  const keep = (code) => `${MARK}${kept.push(code) - 1}${MARK}`
  const hidden = text.split(CODE).map((part, i) => (i % 2 === 1 ? keep(part) : part))
  const moved = hidden.join('').replace(LINK, (whole, image, label, target) => {
    if (/^[a-z]+:/.test(target) || target.startsWith('#')) return whole
    if (image) return picture(label, posix.join(dirname(source), target))
    return `[${label}](${moveLink(target, source)})`
  })
  return moved.replace(new RegExp(`${MARK}(\\d+)${MARK}`, 'g'), (_, i) => kept[i])
}

function moveLink(target, source) {
  const [, path, anchor] = /^([^#]*)(#.*)?$/.exec(target)
  const file = posix.join(dirname(source), path)
  const page = pages.get(file)
  if (page !== undefined) return `./${page}${anchor ?? ''}`
  // Throws where nothing is there.
  const kind = statSync(join(ROOT, file)).isDirectory() ? 'tree' : 'blob'
  return `${REPOSITORY}/${kind}/main/${file}${anchor ?? ''}`
}

const DARK = /^ *@media \(prefers-color-scheme: dark\) \{\n([^]*?)^ {2}\}\n/m

function picture(label, file) {
  const alt = label.replaceAll('"', '&quot;')
  const name = basename(file)
  const text = name.endsWith('.svg') ? readFileSync(join(ROOT, file), 'utf8') : ''
  if (!DARK.test(text)) {
    copyFileSync(join(ROOT, file), join(PAGES, PICTURES, name))
    return `<img src="./${PICTURES}/${name}" alt="${alt}">`
  }
  const shades = { light: text.replace(DARK, ''), dark: text.replace(DARK, '$1') }
  const images = Object.entries(shades).map(([shade, drawing]) => {
    const file = name.replace('.svg', `.${shade}.svg`)
    writeFileSync(join(PAGES, PICTURES, file), drawing)
    return `<img class="in-${shade}" src="./${PICTURES}/${file}" alt="${alt}">`
  })
  return `<span class="drawing">${images.join('')}</span>`
}
