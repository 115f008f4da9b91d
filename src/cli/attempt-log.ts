import type { ConnectPlan } from '../conninfo/plan.js'
import type { AttemptError, AttemptTarget, OpenStep } from '../connect/index.js'
import { roundMillis, type AttemptFacts, type Problem } from './report.js'

/** Writes down what happens while a connection is opened. */
export class AttemptLog {
  readonly #diagnose: (error: AttemptError, socket: string | null) => Problem
  readonly #rows: AttemptFacts[] = []
  #target: AttemptTarget | null = null
  #started = performance.now()

  /** @param diagnose says what to make of a failure; `socket` is the Unix socket that was tried, if it was one */
  constructor(diagnose: (error: AttemptError, socket: string | null) => Problem) {
    this.#diagnose = diagnose
  }

  /** To be handed to `openClient`. */
  readonly onStep = (step: OpenStep): void => {
    if (step.kind === 'look-up') this.#started = performance.now()
    else if (step.kind === 'attempt') this.#target = step.target
    else if (step.kind === 'failed') this.#addFailure(step.error)
    else {
      const { host, port, address = null, socket = null } = step.target
      this.#add({ host, port, address, socket, outcome: 'connected', ...step, problem: null })
    }
  }

  /** What was tried, and then the hosts of the plan that were not. */
  list(plan: ConnectPlan): AttemptFacts[] {
    const untried = { outcome: 'not tried', encryption: null, millis: null, problem: null } as const
    const places = plan.hosts.map(({ host, port, hostaddr: address = null, socket = null }) => {
      return { host, port, address, socket }
    })
    const left = places.filter(
      ({ host, port, address }) =>
        !this.#rows.some(
          (row) => row.host === host && row.port === port && (address === null || row.address === address),
        ),
    )
    return [...this.#rows, ...left.map((place) => ({ ...place, ...untried }))]
  }

  #addFailure(error: AttemptError): void {
    const { host, port, address } = error
    const socket = this.#target?.socket ?? null
    const encryption = this.#target && error.encryption
    const problem = this.#diagnose(error, socket)
    this.#add({ host, port, address, socket, outcome: 'failed', encryption, problem })
  }

  #add({ host, port, address, socket, outcome, encryption, problem }: Omit<AttemptFacts, 'millis'>): void {
    const millis = roundMillis(performance.now() - this.#started)
    this.#rows.push({ host, port, address, socket, outcome, encryption, millis, problem })
    this.#target = null
    this.#started = performance.now()
  }
}
