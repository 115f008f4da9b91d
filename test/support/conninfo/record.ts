/**
 * Writes recorded.json: libpq's answers, for machines without a compiler or without libpq. Run it after a build:
 *
 *     node build/test/support/conninfo/record.js
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { format, resolveConfig } from 'prettier'
import { EXAMPLES } from './examples.js'
import { Oracle, SOURCES, type Answer } from './oracle.js'
import { ConninfoMaker, seededRandom } from './random-conninfo.js'

const RANDOM_STRINGS = 400
const SEED = 20

await using oracle = await Oracle.find()
if (oracle === null) throw new Error('there is no libpq to ask')
const maker = new ConninfoMaker(seededRandom(SEED), oracle.keywords)
const strings = new Set([...EXAMPLES, ...Array.from({ length: RANDOM_STRINGS }, () => maker.next())])

const answers: [string, unknown][] = []
for (const conninfo of strings) answers.push([conninfo, toJson(await oracle.parse(conninfo))])
const file = join(SOURCES, 'recorded.json')
const text = JSON.stringify({ version: oracle.version, answers })
await writeFile(file, await format(text, { ...(await resolveConfig(file)), filepath: file }))

/** Null where libpq refuses; its message quotes the input, and is not compared. */
function toJson(answer: Answer): unknown {
  return answer instanceof Error || answer === 'unspeakable' ? null : answer
}
