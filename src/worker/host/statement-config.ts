/** The owner's query config for a worker's statement. */
import type { CustomTypesConfig } from 'pg'
import { UNPARSED } from './travelling-types.js'
import type { QueryConfig } from '../../index.js'
import type { WireStatement } from '../protocol.js'

/**
 * Rows come as arrays, whatever the worker makes of them: they need no names on the way. `types` parses, where the
 * worker does not.
 */
export function toConfig(
  [text, values, raw, more]: WireStatement,
  types: CustomTypesConfig,
  signal: AbortSignal | undefined,
): QueryConfig {
  const config: Record<string, unknown> = { ...more, text, signal, types: raw ? UNPARSED : types }
  // pg reads binary cells in one of its two forms of rows only.
  if (more?.['binary'] !== true) config['rowMode'] = 'array'
  if (values !== null) config['values'] = values
  return config as unknown as QueryConfig
}
