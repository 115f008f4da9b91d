/** A streaming standby beside a primary. */
import { execFile } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Address } from '../address.js'
import { startServer, type PostgresServer } from '../postgres.js'

/** Lines of pg_hba.conf that let the standby in. */
export const REPLICATION_HBA =
  'local replication all trust\nlocal all all trust\nhost all all 127.0.0.1/32 trust\n'

/**
 * Makes a standby that follows the primary. There is no pg_basebackup among the binaries, so the primary is stopped
 * for a moment and its folder copied.
 *
 * @param upstream where it reaches the primary, such as a proxy
 */
export async function startStandby(
  primary: PostgresServer,
  upstream: Address = primary,
): Promise<PostgresServer> {
  const standby = await startServer()
  await standby.stop('immediate')
  const own = await readFile(join(standby.dataFolder, 'postgresql.conf'), 'utf8')
  await primary.stop('fast')
  await rm(standby.dataFolder, { recursive: true })
  await promisify(execFile)('cp', ['-a', primary.dataFolder, standby.dataFolder])
  await primary.start()
  await standby.writeFile('postgresql.conf', own)
  await standby.configure([`primary_conninfo = 'host=${upstream.host} port=${upstream.port} user=postgres'`])
  await standby.writeFile('standby.signal', '')
  await standby.start()
  return standby
}
