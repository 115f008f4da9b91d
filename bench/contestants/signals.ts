/** This library, with a signal for each statement, as every web request has one. */
import { ManagedConnection } from 'pg-managed-connection'
import { conninfoOf } from '../place.js'
import { inProcess, type Contestant } from './contestant.js'

type Limits = { signal?: AbortSignal; timeoutMillis?: number }

/** Each makes a signal, which costs more than to pass it on; a request has it in any case. */
function contestant(limitsOf: (signal: AbortSignal) => Limits): Contestant {
  return inProcess((place, work) => {
    const manager = new ManagedConnection(conninfoOf(place))
    return {
      once: async (n) => {
        const { signal } = new AbortController()
        const { rows } = await manager.query({
          text: work.text,
          values: [work.value(n)],
          ...limitsOf(signal),
        })
        return work.check(rows, n)
      },
      close: () => manager.end(),
    }
  })
}

export const signalQueries = [
  { name: 'without', contestant: contestant(() => ({})) },
  { name: 'a signal of its own', contestant: contestant((signal) => ({ signal })), target: 0.67 },
  { name: 'a time limit', contestant: contestant(() => ({ timeoutMillis: 10_000 })) },
]
