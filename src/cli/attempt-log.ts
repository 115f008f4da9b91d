import type { HostPlan } from '../conninfo/hosts.js'
import type { ConnectPlan } from '../conninfo/plan.js'
import type { AttemptError, AttemptTarget, OpenStep } from '../connect/index.js'
import { roundMillis, type AttemptFacts, type Problem } from './report.js'

/** Writes down what happens while a connection is opened. */
export class AttemptLog {
  readonly #diagnose: (error: AttemptError, socket: string | null) => Problem
  readonly #rows: AttemptFacts[] = []
  #target: AttemptTarget | null = null
  #started = performance.now()

  /** @param diagnose says what to make of a failure */
  constructor(diagnose: (error: AttemptError, socket: string | null) => Problem) {
    this.#diagnose = diagnose
  }

  /** To be handed to `openClient`. */
  readonly onStep = (step: OpenStep): void => {
    switch (step.kind) {
      case 'look-up':
        this.#started = performance.now()
        return
      case 'attempt':
        this.#target = step.target
        return
      case 'opened': {
        const { host, port, address = null, socket = null } = step.target
        return this.#add({ host, port, address, socket, outcome: 'connected', ...step, problem: null })
      }
      case 'failed':
        return this.#addFailure(step.error)
    }
  }

  /** What was tried, and then the hosts of the plan that were not. */
  list(plan: ConnectPlan): AttemptFacts[] {
    const left = plan.hosts.filter((host) => !this.#rows.some((row) => isOf(row, host)))
    return [...this.#rows, ...left.map(untried)]
  }

  #addFailure(error: AttemptError): void {
    const tried = this.#target
    const { host, port, address } = error
    const socket = tried?.socket ?? null
    this.#add({
      host,
      port,
      address,
      socket,
      outcome: 'failed',
      encryption: tried === null ? null : error.encryption,
      problem: this.#diagnose(error, socket),
    })
  }

  #add({ host, port, address, socket, outcome, encryption, problem }: Omit<AttemptFacts, 'millis'>): void {
    const millis = roundMillis(performance.now() - this.#started)
    this.#rows.push({ host, port, address, socket, outcome, encryption, millis, problem })
    this.#target = null
    this.#started = performance.now()
  }
}

function isOf(row: AttemptFacts, { host, hostaddr, port }: HostPlan): boolean {
  return row.host === host && row.port === port && (hostaddr === undefined || row.address === hostaddr)
}

function untried({ host, hostaddr, port, socket }: HostPlan): AttemptFacts {
  return {
    host,
    port,
    address: hostaddr ?? null,
    socket: socket ?? null,
    outcome: 'not tried',
    encryption: null,
    millis: null,
    problem: null,
  }
}
