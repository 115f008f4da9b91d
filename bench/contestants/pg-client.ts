/** A bare `pg.Client`: one task that waits for each answer, or many that share its pipeline. */
import pg from 'pg'
import { configOf, type Place } from '../place.js'
import { inProcess, type Contestant } from './contestant.js'

/** BEGIN and COMMIT by hand. */
export const clientTransaction = inProcess(async (place, work) => {
  const client = await connect(place, false)
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

/**
 * BEGIN, the statements and COMMIT are asked for at once, and only then waited for. Nothing keeps tasks apart that share
 * such a client, so this is the one way in which their transactions do not mix.
 */
const transaction = (name: { name?: string }): Contestant =>
  inProcess(async (place, work) => {
    const client = await connect(place, true)
    return {
      once: async (n) => {
        const asked: Promise<pg.QueryResult<Record<string, unknown>>>[] = [client.query('BEGIN')]
        for (let index = 0; index < work.statements; index++) {
          asked.push(client.query({ ...name, text: work.text, values: [work.value(n)] }))
        }
        asked.push(client.query('COMMIT'))
        const results = await Promise.all(asked)
        for (const { rows } of results.slice(1, -1)) work.check(rows, n)
      },
      close: () => client.end(),
    }
  })

const query = (name: { name?: string }): Contestant =>
  inProcess(async (place, work) => {
    const client = await connect(place, true)
    return {
      once: async (n) => {
        const { rows } = await client.query({ ...name, text: work.text, values: [work.value(n)] })
        work.check(rows as Record<string, unknown>[], n)
      },
      close: () => client.end(),
    }
  })

async function connect(place: Place, pipeline: boolean): Promise<pg.Client> {
  const client = new pg.Client({ ...configOf(place), pipeline })
  await client.connect()
  return client
}

const NAMED = { name: 'work' }

export const pipelinedTransaction = transaction({})
export const namedPipelinedTransaction = transaction(NAMED)
export const pipelinedQuery = query({})
export const namedPipelinedQuery = query(NAMED)
