/** Where a server listens, and the connection string that leads there. */
import { connect, type Socket } from 'node:net'

/** A server's address in libpq's manner: a `host` that begins with a slash is the folder of a Unix socket. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** An address and who logs in there. */
export interface Login extends Address {
  readonly user: string
  readonly password?: string | undefined
}

/** Whether the address is a Unix socket. */
export function isSocketFolder(host: string): boolean {
  return host.startsWith('/')
}

/** Opens a plain socket to the address. */
export function connectTo({ host, port }: Address): Socket {
  return isSocketFolder(host) ? connect({ path: `${host}/.s.PGSQL.${port}` }) : connect({ host, port })
}

/** The URI of a database, as libpq and pg both read it. */
export function toConninfo({ host, port, user, password }: Login, database: string): string {
  const secret = password === undefined ? '' : `:${encodeURIComponent(password)}`
  const start = `postgresql://${encodeURIComponent(user)}${secret}@`
  const name = encodeURIComponent(database)
  if (isSocketFolder(host)) return `${start}/${name}?host=${encodeURIComponent(host)}&port=${port}`
  return `${start}${host.includes(':') ? `[${host}]` : host}:${port}/${name}`
}
