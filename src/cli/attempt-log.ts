import type { ConnectPlan } from '../conninfo/plan.js'
import type { AttemptError, AttemptTarget, OpenStep } from '../connect/index.js'
import type { FailedAttempt } from './advice/rule.js'
import { roundMillis, type AttemptFacts, type Problem } from './report.js'

type Diagnose = (failed: Pick<FailedAttempt, 'error' | 'socket' | 'reached'>) => Problem

/** Writes down what happens while a connection is opened. */
export class AttemptLog {
  readonly #diagnose: Diagnose
  readonly #rows: AttemptFacts[] = []
  #target: AttemptTarget | null = null
  #reached = false
  #started = performance.now()

  /** @param diagnose says what to make of a failure */
  constructor(diagnose: Diagnose) {
    this.#diagnose = diagnose
  }

  /** To be handed to `openClient`. */
  readonly onStep = (step: OpenStep): void => {
    if (step.kind === 'look-up') this.#started = performance.now()
    else if (step.kind === 'attempt') this.#target = step.target
    else if (step.kind === 'reached') this.#reached = true
    else if (step.kind === 'failed') this.#addFailure(step.error)
    else {
      const { host, port, address = null, socket = null } = step.target
      const { encryption } = step
      this.#add({ host, port, address, socket, outcome: 'connected', encryption, problem: null })
    }
  }

  #addFailure(error: AttemptError): void {
    const { host, port, address } = error
    const socket = this.#target?.socket ?? null
    const encryption = this.#target && error.encryption
    const problem = this.#diagnose({ error, socket, reached: this.#reached })
    this.#add({ host, port, address, socket, outcome: 'failed', encryption, problem })
  }

  #add({ problem, ...facts }: Omit<AttemptFacts, 'millis'>): void {
    this.#rows.push({ ...facts, millis: roundMillis(performance.now() - this.#started), problem })
    this.#target = null
    this.#reached = false
    this.#started = performance.now()
  }

  /** What was tried, and then the hosts of the plan that were not. */
  list({ hosts }: ConnectPlan): AttemptFacts[] {
    const untried = { outcome: 'not tried', encryption: null, millis: null, problem: null } as const
    const left = hosts.filter(({ host, port, hostaddr }) => {
      const isIt = (row: AttemptFacts) => row.host === host && row.port === port
      return !this.#rows.some((row) => isIt(row) && (hostaddr === undefined || row.address === hostaddr))
    })
    return [
      ...this.#rows,
      ...left.map(({ host, port, hostaddr: address = null, socket = null }): AttemptFacts => {
        return { host, port, address, socket, ...untried }
      }),
    ]
  }
}
