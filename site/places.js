/** Where things are: what the site is made of, where it is put together, and the repository that it links to. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The project's folder. */
export const ROOT = join(import.meta.dirname, '..')

/** The pages as VitePress reads them, written anew by each build. */
export const PAGES = join(import.meta.dirname, 'build/pages')

/** The site. */
export const OUT = join(import.meta.dirname, 'dist')

export const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))

/** `https://github.com/owner/name`. */
export const REPOSITORY = manifest.repository.url.replace(/^git\+/, '').replace(/\.git$/, '')

/** Where the site will be below its host: `/` or `/name/`, by the variable SITE_BASE. */
export const BASE = readBase(process.env['SITE_BASE'] || '/')

function readBase(base) {
  if (/^\/([^/?#]+\/)*$/.test(base)) return base
  throw new Error(`SITE_BASE begins and ends with a slash, such as /pg-managed-connection/, and is "${base}"`)
}
