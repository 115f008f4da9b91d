/** postgres.js with one connection, or more where they may; it prepares by itself. */
import { loadPeer, type PostgresJs } from '../peers.js'
import { configOf, type Place } from '../place.js'
import { partsOf } from '../work.js'
import { inProcess, type Contestant } from './contestant.js'

/** `sql.begin()`, with so many connections. */
export const postgresJsTransactionOf = (max: number): Contestant =>
  inProcess(async (place, work) => {
    const sql = await connect(place, max)
    const parts = partsOf(work)
    return {
      once: (n) =>
        sql.begin(async (transaction) => {
          for (let index = 0; index < work.statements; index++) {
            work.check(await transaction(parts, work.value(n)), n)
          }
        }),
      close: () => sql.end(),
    }
  })

export const postgresJsTransaction = postgresJsTransactionOf(1)

export const postgresJsQuery = inProcess(async (place, work) => {
  const sql = await connect(place, 1)
  const parts = partsOf(work)
  return {
    once: async (n) => work.check(await sql(parts, work.value(n)), n),
    close: () => sql.end(),
  }
})

async function connect(place: Place, max: number): Promise<PostgresJs> {
  const { default: postgres } = await loadPeer('postgres')
  const { user, ...config } = configOf(place)
  return postgres({ ...config, username: user, max })
}
