/** Opens connections for a test, in an environment that has nothing in it. */
import { ConninfoError } from 'pg-managed-connection/conninfo'
import type { ConnectionParameters } from 'pg-managed-connection/conninfo'
import { openClient, planConnection, type OpenedClient } from './internals.js'

export { ConninfoError }

/** An environment in which libpq's files are not found either. */
export const EMPTY_ENVIRONMENT: NodeJS.ProcessEnv = { HOME: '/nonexistent' }

type OpenOptions = NonNullable<Parameters<typeof openClient>[1]>

/** An open connection that ends with its block. */
export type Opened = OpenedClient & AsyncDisposable

/** Opens a connection as the manager would. */
export async function open(
  conninfo: string | ConnectionParameters,
  options: OpenOptions & { readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Opened> {
  const { env = EMPTY_ENVIRONMENT, ...rest } = options
  const opened = await openClient(planConnection(conninfo, env), rest)
  return Object.assign(opened, { [Symbol.asyncDispose]: () => opened.client.end() })
}

/** The error with which an opening fails, as far as tests look at it. */
export interface OpenFailure extends Error {
  readonly code: string
  readonly errors: readonly (Error & {
    readonly kind: string
    readonly host: string
    readonly address: string | null
    readonly port: number
    readonly cause?: Error & { readonly code?: string }
  })[]
}

/** The error with which an opening fails; it is an error of the test when it does not. */
export async function failure(...args: Parameters<typeof open>): Promise<OpenFailure> {
  let opened: Opened
  try {
    opened = await open(...args)
  } catch (error) {
    return error as OpenFailure
  }
  await opened.client.end()
  throw new Error('it should not have opened')
}

/** One value from the server. */
export async function ask({ client }: OpenedClient, text: string): Promise<unknown> {
  const { rows } = await client.query<[unknown]>({ text, rowMode: 'array' })
  return rows[0]?.[0]
}
