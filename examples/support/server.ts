/** A PostgreSQL for the examples: the one that PG* variables name, or else one of their own. */
import { nameServer, namesServer, serverOfEnvironment } from '../../test/support/environment.js'
import { startServer } from '../../test/support/postgres.js'
import type { Login } from '../../test/support/address.js'

export interface ExampleServer extends AsyncDisposable {
  /** Any connection string of libpq's; an empty one leaves everything to the environment. */
  readonly conninfo: string
  readonly login: Login
}

export async function openServer(): Promise<ExampleServer> {
  if (namesServer()) {
    return { conninfo: '', login: serverOfEnvironment(), [Symbol.asyncDispose]: () => Promise.resolve() }
  }
  const server = await startServer()
  nameServer()
  const { host, port, user } = server
  return {
    conninfo: server.conninfo(),
    login: { host, port, user },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
