/**
 * Removes what was compiled from sources that are gone, so that no old file is shipped or tested.
 *
 *     node scripts/prune.js OUTPUT SOURCE
 */
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const [output, source] = process.argv.slice(2)
if (output === undefined || source === undefined) throw new Error('usage: prune.js OUTPUT SOURCE')

for (const name of readdirSync(output, { recursive: true, encoding: 'utf8' })) {
  const compiled = /^(.*?)(?:\.d\.m?ts|\.m?js)(?:\.map)?$/.exec(name)
  if (compiled === null) continue
  // What a script of ours makes has its types there.
  if (['.ts', '.d.ts'].some((ending) => existsSync(join(source, `${compiled[1]}${ending}`)))) continue
  rmSync(join(output, name))
}
