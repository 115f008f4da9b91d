/** The server on which the fault programs run: it asks for a password, speaks TLS where it is asked to, and is roomy. */
import type pg from 'pg'
import { Admin } from '../admin.js'
import { startServer, type PostgresServer } from '../postgres.js'
import { Authority } from '../conninfo/certificates.js'

export const USER = 'app'
export const PASSWORD = 'a secret of nobody'

const HBA = `local all postgres trust
host all postgres 127.0.0.1/32 trust
host all ${USER} 127.0.0.1/32 scram-sha-256
`

/** Logging in is not what is tried here, so hashing the password takes no time, where a server has a say in it. */
const SETUP = `
  SELECT set_config(name, '1', false) FROM pg_settings WHERE name = 'scram_iterations';
  CREATE ROLE ${USER} LOGIN PASSWORD '${PASSWORD}';
  CREATE TABLE rows (trial int NOT NULL, id int NOT NULL);
  CREATE INDEX ON rows (trial);
  GRANT ALL ON rows TO ${USER};
`

export interface Grounds extends AsyncDisposable {
  readonly server: PostgresServer
  /** The limit by which a deaf peer is noticed: short, but long enough for this machine. */
  patienceMillis: number
  /** The rows of a statement; one at a time, whoever asks. */
  ask<R extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<R[]>
}

export async function prepareGrounds(): Promise<Grounds> {
  await using authority = await Authority.create('authority of the fault programs')
  const { certificate, key } = await (await authority.sign('localhost')).read()
  const server = await startServer({
    conf: ['max_connections = 300', 'ssl = on', 'autovacuum = off', 'log_min_messages = fatal'],
    hba: HBA,
    files: { 'server.crt': certificate, 'server.key': key },
  })
  const admin = new Admin(server, 'postgres')
  await admin.query(SETUP)
  let last: Promise<unknown> = Promise.resolve()
  const ask = <R extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<R[]> => {
    const answered = last.then(() => admin.rows<R>(text, values))
    last = answered.catch(() => {})
    return answered
  }
  const dispose = async (): Promise<void> => {
    await admin.end()
    await server[Symbol.asyncDispose]()
  }
  return { server, ask, patienceMillis: 1_000, [Symbol.asyncDispose]: dispose }
}
