/** Encryption: the right certificate is accepted, and nothing else is. */
import assert from 'node:assert/strict'
import { ManagedConnection } from 'pg-managed-connection'
import { Authority, type Identity } from '../../../test/support/conninfo/certificates.js'
import { startServer, type PostgresServer } from '../../../test/support/postgres.js'
import type { Steps } from './ground.js'

export const secureSteps: Steps = {
  'TLS: a certificate is verified, with its name': () =>
    onSecureGround(async ({ connect }) => {
      assert.equal(await connect({}), 'encrypted')
      await assert.rejects(connect({ host: 'other.test' }), /does not match host name/)
    }),

  'TLS: a certificate of somebody else is refused': () =>
    onSecureGround(async ({ connect }) => {
      await using stranger = await Authority.create('stranger')
      await assert.rejects(connect({ sslrootcert: stranger.certificate }), /certificate/i)
    }),

  'TLS: a revoked certificate is refused, or the list is where it cannot be checked': () =>
    onSecureGround(async ({ connect, authority, identity }) => {
      const list = await authority.revoke(identity)
      const expected = 'deno' in process.versions ? /cannot be checked on Deno/ : /revoked/i
      await assert.rejects(connect({ sslcrl: list }), expected)
    }),
}

interface SecureGround {
  readonly authority: Authority
  /** The server's. */
  readonly identity: Identity
  /** Tells whether the connection is encrypted. */
  readonly connect: (parameters: Readonly<Record<string, string>>) => Promise<string>
}

async function onSecureGround(step: (ground: SecureGround) => Promise<void>): Promise<void> {
  await using authority = await Authority.create('authority')
  const identity = await authority.sign('db.test', 'DNS:db.test')
  const { certificate, key } = await identity.read()
  await using server = await startServer({
    conf: ['ssl = on'],
    files: { 'server.crt': certificate, 'server.key': key },
  })
  await step({ authority, identity, connect: connectorOf(server, authority.certificate) })
}

function connectorOf({ port, user }: PostgresServer, roots: string): SecureGround['connect'] {
  return async (parameters) => {
    const all = { host: 'db.test', hostaddr: '127.0.0.1', port: String(port), user, dbname: 'postgres' }
    const words = { ...all, sslmode: 'verify-full', sslrootcert: roots, ...parameters }
    const conninfo = Object.entries(words).map(([name, value]) => `${name}='${value}'`)
    await using manager = new ManagedConnection(conninfo.join(' '))
    const { rows } = await manager.query<{ ssl: boolean }>(
      'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
    )
    return rows[0]!.ssl ? 'encrypted' : 'open'
  }
}
