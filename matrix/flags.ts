/** The command line. */
import { parseArgs } from 'node:util'

export interface Flags {
  /** Names of cells, or parts of them; none means all. */
  readonly only: readonly string[]
  /** Only say which cells there are. */
  readonly list: boolean
  /** The test files and folders that are wanted; none means all, and only then results are kept. */
  readonly tests: readonly string[]
}

export function readFlags(args?: string[]): Flags {
  const { values, positionals } = parseArgs({
    ...(args && { args }),
    allowPositionals: true,
    options: {
      only: { type: 'string', multiple: true, default: [] },
      list: { type: 'boolean', default: false },
    },
  })
  return { only: values.only.flatMap((names) => names.split(',')), list: values.list, tests: positionals }
}
