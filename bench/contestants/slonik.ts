/** slonik with a pool of one. */
import { loadPeer } from '../peers.js'
import { partsOf } from '../work.js'
import type { Place } from '../place.js'
import { inProcess } from './contestant.js'

export const slonikTransaction = inProcess(async (place, work) => {
  const { createPool, sql } = await loadPeer('slonik')
  const pool = await createPool(uriOf(place), {
    maximumPoolSize: 1,
    // By default it sends DISCARD ALL after each transaction. Nothing else here does, so it is spared that.
    resetConnection: () => Promise.resolve(),
  })
  const parts = partsOf(work)
  return {
    once: (n) =>
      pool.transaction(async (connection) => {
        for (let index = 0; index < work.statements; index++) {
          const { rows } = await connection.query(sql.unsafe(parts, work.value(n)))
          work.check(rows, n)
        }
      }),
    close: () => pool.end(),
  }
})

/** It takes nothing but a URI, and no user without a host: a socket's folder stands in its place, escaped. */
function uriOf({ login: { host, port, user, password }, database }: Place): string {
  const secret = password === undefined ? '' : `:${encodeURIComponent(password)}`
  const where = host.includes(':') ? `[${host}]` : encodeURIComponent(host)
  return `postgresql://${encodeURIComponent(user)}${secret}@${where}:${port}/${encodeURIComponent(database)}`
}
