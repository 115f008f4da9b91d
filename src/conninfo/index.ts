/**
 * Connection strings, as libpq understands them.
 *
 * @module pg-managed-connection/conninfo
 */
export { ConninfoError } from '../errors.js'
export type { ConnectionParameters, Password, StreamSource, TypeParsers } from './parameters.js'
export { parseConninfo } from './parse.js'
export { resolveConninfo, type ParameterSource, type ResolvedParameter } from './resolve.js'
