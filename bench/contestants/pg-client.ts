/** A bare `pg.Client`: one connection, one task, nothing in between. */
import pg from 'pg'
import { configOf } from '../place.js'
import { inProcess } from './contestant.js'

/** BEGIN and COMMIT by hand. */
export const clientTransaction = inProcess(async (place, work) => {
  const client = new pg.Client(configOf(place))
  await client.connect()
  return {
    once: async (n) => {
      await client.query('BEGIN')
      for (let index = 0; index < work.statements; index++) {
        const { rows } = await client.query<Record<string, unknown>>(work.text, [work.value(n)])
        work.check(rows, n)
      }
      await client.query('COMMIT')
    },
    close: () => client.end(),
  }
})
