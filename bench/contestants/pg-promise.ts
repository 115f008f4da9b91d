/** pg-promise with one connection; it puts values into the text by itself. */
import { loadPeer } from '../peers.js'
import { configOf } from '../place.js'
import { inProcess } from './contestant.js'

export const pgPromiseTransaction = inProcess(async (place, work) => {
  const { default: initialise } = await loadPeer('pg-promise')
  // It warns of a second object for the same database, which here is on purpose.
  const database = initialise({ noWarnings: true })({ ...configOf(place), max: 1 })
  return {
    once: (n) =>
      database.tx(async (task) => {
        for (let index = 0; index < work.statements; index++) {
          work.check(await task.any(work.text, [work.value(n)]), n)
        }
      }),
    close: () => database.$pool.end(),
  }
})
