/** The plans of one manager: what its connection string comes to, asked anew at each opening. */
import { ConninfoError } from '../errors.js'
import { describeConninfo } from './mask.js'
import { planConnection, type ConnectPlan } from './plan.js'
import { readConninfo, type GivenConninfo } from './read-conninfo.js'

/** A connection string or parameters, or a function that gives them at each opening. */
export type ConninfoSource = GivenConninfo | (() => GivenConninfo | PromiseLike<GivenConninfo>)

export class ConnectionPlans {
  /** As it is shown, with every password masked. */
  readonly description: string
  /** The latest; null until a function has given one. */
  known: ConnectPlan | null
  readonly #ask: () => GivenConninfo | PromiseLike<GivenConninfo>
  readonly #isAsked: boolean

  /** @throws ConninfoError for a string or parameters that libpq refuses */
  constructor(source: ConninfoSource) {
    this.#isAsked = typeof source === 'function'
    const given = typeof source === 'function' ? undefined : readConninfo(source)
    this.#ask = typeof source === 'function' ? source : () => given
    this.known = this.#isAsked ? null : planConnection(given)
    this.description = this.#isAsked ? '(asked for at each opening)' : describeConninfo(given)
  }

  /**
   * What it comes to now: files and the environment may have changed.
   *
   * @throws what the function throws; ConninfoError for what it gives
   */
  async next(): Promise<ConnectPlan> {
    const given = await this.#ask()
    if (this.#isAsked && given == null) {
      throw new ConninfoError('the function that gives the connection parameters has given none')
    }
    const plan = planConnection(readConninfo(given))
    if (this.#isAsked && plan.statementTimeoutMillis !== undefined) {
      throw new ConninfoError('query_timeout cannot be given by a function: set statementTimeoutMillis')
    }
    return (this.known = plan)
  }
}
