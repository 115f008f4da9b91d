/** `pg.Pool` with one client: what most applications would use instead. And with more of them, where they may. */
import pg from 'pg'
import { configOf } from '../place.js'
import type { Work } from '../work.js'
import { inProcess, type Client, type Contestant } from './contestant.js'

type Once = (pool: pg.Pool, work: Work, name: { name?: string }) => Client['once']

/** BEGIN and COMMIT by hand, as the manual of pg shows it. */
const transaction: Once = (pool, work, name) => async (n) => {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    for (let index = 0; index < work.statements; index++) {
      const { rows } = await client.query({ ...name, text: work.text, values: [work.value(n)] })
      work.check(rows as Record<string, unknown>[], n)
    }
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

const query: Once = (pool, work, name) => async (n) => {
  const { rows } = await pool.query({ ...name, text: work.text, values: [work.value(n)] })
  work.check(rows as Record<string, unknown>[], n)
}

const pooled = (once: Once, name: { name?: string }, max = 1): Contestant =>
  inProcess((place, work) => {
    const pool = new pg.Pool({ ...configOf(place), max })
    return { once: once(pool, work, name), close: () => pool.end() }
  })

const NAMED = { name: 'work' }

export const poolTransaction = pooled(transaction, {})
export const namedPoolTransaction = pooled(transaction, NAMED)
/** With so many connections. */
export const poolTransactionOf = (max: number): Contestant => pooled(transaction, {}, max)
export const poolQuery = pooled(query, {})
export const namedPoolQuery = pooled(query, NAMED)
export const poolOfTenQuery = pooled(query, {}, 10)
