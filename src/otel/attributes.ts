/** The attributes of OpenTelemetry's semantic conventions for databases, as far as both metrics and spans have them. */
import type { Attributes } from '@opentelemetry/api'
import type { Manager, StatementContext } from '../index.js'
import type { ConnectionFacts } from '../api/manager.js'

/** The server and the database; what is not known is left out. */
export function attributesOf(manager: Manager): Attributes {
  const { host, port, database } = (manager as { facts?: Partial<ConnectionFacts> }).facts ?? {}
  return {
    'db.system.name': 'postgresql',
    ...(database === undefined ? {} : { 'db.namespace': database }),
    ...(host === undefined ? {} : { 'server.address': host }),
    ...(port === undefined ? {} : { 'server.port': port }),
  }
}

/** `db.operation.name`, where it is known. */
export function operationAttributes(context: StatementContext): Attributes {
  const operation = operationOf(context)
  return operation === '' ? {} : { 'db.operation.name': operation }
}

/** Its command; of a batch what its statements have in common. Empty where there is none. */
export function operationOf({ text, batchSize }: StatementContext): string {
  const commands = new Set((batchSize === 1 ? [text] : text.split('; ')).map(commandOf))
  const [first = ''] = commands
  if (batchSize === 1) return first
  return commands.size === 1 && first !== '' ? `BATCH ${first}` : 'BATCH'
}

/** The first word, behind white space, comments and parentheses: tracing that patches pg may put its comment in front. */
const COMMAND = /^(?:[\s(]|--[^\n\r]*(?:[\n\r]|$)|\/\*[^*]*\*+(?:[^/*][^*]*\*+)*\/)*([a-z]+)/i

function commandOf(text: string): string {
  return COMMAND.exec(text)?.[1]?.toUpperCase() ?? ''
}

/** `error.type`, and the SQLSTATE where the server has said one. */
export function failureOf(error: unknown): Attributes {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown }
  const isState = typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)
  const type = typeof code === 'string' ? code : typeof name === 'string' ? name : '_OTHER'
  return { 'error.type': type, ...(isState ? { 'db.response.status_code': code } : {}) }
}
