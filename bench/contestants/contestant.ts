/** What takes part in a row: a way to do its work with one connection. */
import { runCount, runMillis } from '../tasks.js'
import type { Place } from '../place.js'
import type { Work } from '../work.js'

/** A contestant, connected. */
export interface Entrant {
  /** How many threads of its own it has, each of which compiles its code for itself. Default: 1 */
  readonly threads?: number
  /** Works for about so long; the result is operations per second. */
  run(millis: number): Promise<number>
  /** Does exactly so many operations. */
  attempt(count: number): Promise<void>
  close(): Promise<void>
}

export interface Setting {
  readonly place: Place
  readonly work: Work
  /** How many tasks ask at the same time. */
  readonly tasks: number
}

export type Contestant = (setting: Setting) => Promise<Entrant>

/** What a library has to say: do operation `n` and check its result. */
export interface Client {
  once(n: number): Promise<void>
  close(): Promise<void>
}

/** A contestant that lives in this process. */
export function inProcess(connect: (place: Place, work: Work) => Promise<Client> | Client): Contestant {
  return async ({ place, work, tasks }) => {
    const client = await connect(place, work)
    const once = (n: number): Promise<void> => client.once(n)
    return {
      run: (millis) => runMillis(tasks, millis, once),
      attempt: (count) => runCount(tasks, count, once),
      close: () => client.close(),
    }
  }
}
