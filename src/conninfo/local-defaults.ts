import { existsSync } from 'node:fs'
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import { ConninfoError } from '../errors.js'

/** Where packaged servers put their Unix sockets. */
const SOCKET_DIRECTORIES = ['/var/run/postgresql', '/tmp'] as const

/** Where packaged libpqs look for the system-wide service file (`pg_config --sysconfdir`). */
const SYSTEM_DIRECTORIES = [
  '/etc/postgresql-common',
  '/etc/sysconfig/pgsql',
  '/usr/local/pgsql/etc',
  '/usr/local/etc/postgresql',
  '/opt/homebrew/etc/postgresql',
] as const

/** The paths of the user's files that libpq reads unless it is told of others, whether or not they exist. */
export function userFiles(env: NodeJS.ProcessEnv) {
  const windows = process.platform === 'win32'
  const home = windows ? join(env['APPDATA'] ?? homedir(), 'postgresql') : env['HOME'] || homedir()
  const certificates = windows ? home : join(home, '.postgresql')
  return {
    password: join(home, windows ? 'pgpass.conf' : '.pgpass'),
    service: join(home, '.pg_service.conf'),
    certificate: join(certificates, 'postgresql.crt'),
    key: join(certificates, 'postgresql.key'),
    rootCertificate: join(certificates, 'root.crt'),
    revocationList: join(certificates, 'root.crl'),
  }
}

/** The system-wide service files to look at, in order. */
export function systemServiceFiles(env: NodeJS.ProcessEnv): string[] {
  const given = env['PGSYSCONFDIR']
  const directories = given === undefined ? SYSTEM_DIRECTORIES : [given]
  return directories.map((directory) => join(directory, 'pg_service.conf'))
}

/** The name of the operating system's user, who is the database user by default. */
export function localUser(): string {
  try {
    return userInfo().username
  } catch (cause) {
    throw new ConninfoError('could not look up local user; give the "user" parameter', { cause })
  }
}

/** The directory where a local server has its socket for this port, else `localhost`. */
export function defaultHost(port: number): string {
  return SOCKET_DIRECTORIES.find((directory) => existsSync(socketPath(directory, port))) ?? 'localhost'
}

/** Whether a host is a directory of Unix sockets that a libpq may have as its default. */
export function isDefaultSocketDirectory(host: string): boolean {
  return (SOCKET_DIRECTORIES as readonly string[]).includes(host)
}

/** The Unix socket of a server: a path, or a name in Linux's abstract namespace (which libpq writes with `@`). */
export function socketPath(directory: string, port: number): string {
  return `${directory}/.s.PGSQL.${port}`
}
