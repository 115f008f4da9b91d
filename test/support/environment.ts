/** The server that the environment names. */
import { userInfo } from 'node:os'
import type { Login } from './address.js'

/** The variable by which the test entry tells its files the name of the template database. */
export const TEMPLATE_VARIABLE = 'TEST_TEMPLATE_DATABASE'

/** The variable by which the test entry tells its files how many milliseconds a test may take. */
export const TIMEOUT_VARIABLE = 'TEST_TIMEOUT_MILLIS'

/** Whether the environment names a server to test against. */
export function namesServer(env: NodeJS.ProcessEnv = process.env): boolean {
  return ['PGHOST', 'PGHOSTADDR', 'PGPORT', 'PGSERVICE'].some((name) => Boolean(env[name]))
}

/**
 * Makes a server of our own the one that the environment names, and the only thing that it says: what somebody's shell
 * has in PGSSLMODE or PGOPTIONS is meant for other servers.
 *
 * @param variables none, where connection strings say it all
 */
export function nameServer(
  variables: Readonly<Record<string, string>> = {},
  env: NodeJS.ProcessEnv = process.env,
): void {
  for (const name of Object.keys(env)) if (/^PG[A-Z]/.test(name)) delete env[name]
  Object.assign(env, variables)
}

/** Where the environment's server is, and who we are there. */
export function serverOfEnvironment(env: NodeJS.ProcessEnv = process.env): Login {
  return {
    host: env['PGHOSTADDR'] || env['PGHOST'] || 'localhost',
    port: Number(env['PGPORT'] || 5432),
    user: env['PGUSER'] || userInfo().username,
    password: env['PGPASSWORD'] || undefined,
  }
}

/** The database from which others are created and dropped. */
export function maintenanceDatabase(env: NodeJS.ProcessEnv = process.env): string {
  return env['PGDATABASE'] || 'postgres'
}
