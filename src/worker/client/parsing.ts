/** Parses, in this thread, what the owner's could not hand over as it is. */
import { parsersOfThread } from '../pg.js'
import { className, restoreBytes } from '../cloneable.js'
import type { CustomTypesConfig } from 'pg'
import type { RawCell } from '../protocol.js'

/** `types` are the program's own for this query; without them what comes out must be what the owner's parser makes. */
export function parseOdd(cell: RawCell, types: CustomTypesConfig | null): unknown {
  const parse = parserOf(types ?? parsersOfThread, cell.dataTypeID, cell.format)
  const value = parse(restoreBytes(cell.text))
  const found = className(value)
  if (cell.className === null || cell.className === found) return value
  throw new TypeError(
    `column "${cell.column}": its type parser makes a ${cell.className} on the owner's thread, which cannot be copied, ` +
      `and a ${found} in this worker; set the same parser in both, or give \`types\` to the query or to attach()`,
  )
}

/** A parser of a type, in one of its formats. */
export function parserOf(
  types: CustomTypesConfig,
  dataTypeID: number,
  format: string,
): (value: unknown) => unknown {
  return types.getTypeParser(dataTypeID, (format || 'text') as 'text') as (value: unknown) => unknown
}
