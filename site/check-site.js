/** Checks the site as it was built: every link leads to a page and an anchor, and nothing is loaded from elsewhere. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, posix } from 'node:path'
import { BASE, OUT, REPOSITORY, ROOT } from './places.js'

/** How many pages and links were looked at; throws with everything that is wrong. */
export function checkSite() {
  const files = readdirSync(OUT, { recursive: true }).map((name) => name.replaceAll('\\', '/'))
  const pages = new Map(files.filter((name) => name.endsWith('.html')).map((name) => [name, readPage(name)]))
  const problems = []
  let links = 0
  for (const [name, { hrefs, sources }] of pages) {
    for (const href of hrefs) {
      const problem = findProblem(name, href, pages)
      if (problem) problems.push(`${name}: ${href}: ${problem}`)
      links++
    }
    const foreign = sources.filter((source) => /^([a-z]+:)?\/\//i.test(source))
    problems.push(...foreign.map((source) => `${name}: ${source} is loaded from elsewhere`))
  }
  for (const name of files.filter((each) => each.endsWith('.css'))) {
    const text = readFileSync(join(OUT, name), 'utf8')
    for (const [found] of text.matchAll(/(?:url\(|@import )["']?(?:https?:)?\/\/[^)"']+/g)) {
      problems.push(`${name}: ${found} is loaded from elsewhere`)
    }
  }
  if (problems.length > 0) throw new Error(`the site is not right:\n  ${[...new Set(problems)].join('\n  ')}`)
  return { pages: pages.size, links }
}

function readPage(name) {
  const html = readFileSync(join(OUT, name), 'utf8')
  return {
    ids: new Set(attributes(html, /<[^>]*?\sid="([^"]*)"/g)),
    hrefs: attributes(html, /<a\s[^>]*?href="([^"]*)"/g),
    sources: [
      ...attributes(html, /<(?:script|img|source|iframe)\s[^>]*?src="([^"]*)"/g),
      ...attributes(html, /<link\s[^>]*?href="([^"]*)"/g),
    ],
  }
}

function attributes(html, pattern) {
  return [...html.matchAll(pattern)].map(([, value]) => value.replaceAll('&amp;', '&'))
}

/** What is wrong with a link of a page; undefined if nothing is, or if it leads to somebody else's site. */
function findProblem(from, href, pages) {
  const [, file] = new RegExp(`^${REPOSITORY}/(?:blob|tree)/main/([^#]+)`).exec(href) ?? []
  if (file !== undefined) return existsSync(join(ROOT, file)) ? undefined : 'the repository has no such file'
  if (/^[a-z]+:/i.test(href)) return undefined
  const { pathname, hash } = new URL(href, `http://site${BASE}${from}`)
  if (!pathname.startsWith(BASE)) return 'it leads out of the site'
  const target = toFile(decodeURIComponent(pathname.slice(BASE.length)))
  if (target === undefined) return 'nothing is there'
  const anchor = decodeURIComponent(hash.slice(1))
  if (anchor === '' || !pages.has(target) || pages.get(target).ids.has(anchor)) return undefined
  return 'the page has no such heading'
}

/** The file that a server sends for a path. */
function toFile(path) {
  const candidates = path === '' || path.endsWith('/') ? [posix.join(path, 'index.html')] : [path]
  return candidates.find((name) => existsSync(join(OUT, name)) && statSync(join(OUT, name)).isFile())
}
