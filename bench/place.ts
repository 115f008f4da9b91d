/** Where the variants of a row connect to. */
import { toConninfo, type Login } from '../test/support/address.js'

export interface Place {
  readonly login: Login
  readonly database: string
}

export function conninfoOf({ login, database }: Place): string {
  return toConninfo(login, database)
}

/** The same in words that pg, pg-promise and (but for `user`) postgres.js take. */
export function configOf({ login, database }: Place): {
  host: string
  port: number
  user: string
  password: string | undefined
  database: string
} {
  const { host, port, user, password } = login
  return { host, port, user, password, database }
}
