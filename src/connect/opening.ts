import type { HostPlan } from '../conninfo/hosts.js'
import type { ConnectPlan, TargetSessionAttrs } from '../conninfo/plan.js'
import { ConnectError } from '../errors.js'
import { now } from '../util/clock.js'
import { attempt } from './attempt.js'
import { AttemptError, Failure, type AttemptTarget } from './attempt-error.js'
import { withDeadline } from './with-deadline.js'
import { findAddresses, systemLookUp } from './look-up.js'
import type { OpenedClient, OpenOptions, OpenStep } from './opened-client.js'
import { shuffle } from './shuffle.js'
import { isPoolerWithoutServer } from './transient.js'

/** One call of `openClient`: goes through the hosts, and keeps what went wrong with each. */
export class Opening {
  /** Trying further is of no use: the server refused the login, or time is up. */
  stopped = false
  readonly #plan: ConnectPlan
  readonly #options: OpenOptions

  constructor(plan: ConnectPlan, options: OpenOptions) {
    this.#plan = plan
    this.#options = options
  }

  /**
   * Tries the hosts in order, each name's addresses in turn.
   *
   * @throws ConnectError when none would do; the caller's signal's reason
   */
  async tryHosts(hosts: readonly HostPlan[], wanted: TargetSessionAttrs): Promise<OpenedClient> {
    const errors: AttemptError[] = []
    for (const host of hosts) {
      const opened = await this.#tryHost(host, wanted, errors)
      if (opened !== null) return opened
      if (this.stopped) break
    }
    throw new ConnectError(errors.map(({ message }) => message).join('\n'), { errors })
  }

  async #tryHost(
    host: HostPlan,
    wanted: TargetSessionAttrs,
    errors: AttemptError[],
  ): Promise<OpenedClient | null> {
    const started = now()
    const targets = await this.#note(host, errors, () =>
      withDeadline(this.#limits(0), (signal) => this.#findTargets(host, signal)),
    )
    // The first address shares its time with the look-up.
    let spent = now() - started
    for (const target of targets ?? []) {
      const opened = await this.#note(target, errors, () =>
        withDeadline(this.#limits(spent), (signal) =>
          attempt(target, { plan: this.#plan, wanted, signal, onStep: this.#step }),
        ),
      )
      if (opened !== null) return opened
      if (this.stopped || isHostDone(errors.at(-1)!)) break
      spent = 0
    }
    return null
  }

  async #findTargets(host: HostPlan, signal: AbortSignal): Promise<AttemptTarget[]> {
    const { host: name, port, socket } = host
    if (this.#plan.stream !== undefined) return [{ host: name, port }]
    if (socket !== undefined) return [{ host: name, port, socket }]
    this.#step({ kind: 'look-up', host: name || host.hostaddr! })
    const addresses = await findAddresses(host, this.#options.lookUp ?? systemLookUp, signal)
    const order = this.#plan.loadBalanceHosts === 'random' ? shuffle(addresses) : addresses
    return order.map((address) => ({ host: name, port, address }))
  }

  #limits(spent: number): { signal: AbortSignal | undefined; timeoutMillis: number } {
    const { signal, deadline = Infinity } = this.#options
    const forAttempt = (this.#plan.connectTimeoutMillis || Infinity) - spent
    return { signal, timeoutMillis: Math.max(Math.min(forAttempt, deadline - now()), 1) }
  }

  #step = (step: OpenStep): void => this.#options.onStep?.(step)

  /** Keeps a failure and answers null; what is not a failure ends the opening. */
  async #note<T>(target: AttemptTarget, errors: AttemptError[], work: () => Promise<T>): Promise<T | null> {
    try {
      return await work()
    } catch (error) {
      if (this.#options.signal?.aborted) throw this.#options.signal.reason
      const failure = error instanceof Failure ? new AttemptError(target, error, 'none') : error
      if (!(failure instanceof AttemptError)) throw error
      errors.push(failure)
      this.#step({ kind: 'failed', error: failure })
      // A timer may fire a little early by this clock: what is left then is no time for another attempt.
      const late = now() + 2 >= (this.#options.deadline ?? Infinity)
      this.stopped = isFinal(failure) || late
      return null
    }
  }
}

/**
 * As with libpq: when a server refuses the login, or a demand is not met, the other hosts are not asked. A pooler that
 * has no server refuses nobody; the next one, maybe at another address of the same name, may have one.
 */
function isFinal(failure: AttemptError): boolean {
  return (
    failure.kind === 'policy' ||
    (failure.kind === 'refused' && !isUnavailable(failure) && !isPoolerWithoutServer(failure))
  )
}

/** Whether the host's other addresses need not be tried: they lead to the same server. */
function isHostDone(failure: AttemptError): boolean {
  return failure.kind === 'session' || isUnavailable(failure)
}

/** The server is starting up, shutting down or in recovery: 57P0x. */
function isUnavailable({ cause }: AttemptError): boolean {
  return /^57P0.$/.test(String((cause as { code?: unknown }).code))
}
