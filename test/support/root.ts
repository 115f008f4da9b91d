/** The folder of the checkout. Nothing else may count folders upwards: where a test is compiled to is nobody's business. */
import { fileURLToPath } from 'node:url'

/** Ends with a slash: `new URL('docs/check.md', root)`. */
export const root = new URL('../../../', import.meta.url)

/** The same as a path, or the path of what is in it: `pathOf('README.md')`. */
export function pathOf(name = ''): string {
  return fileURLToPath(new URL(name, root))
}
