import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { ConnectPlan, TargetSessionAttrs } from '../conninfo/plan.js'
import type { HostPlan } from '../conninfo/resolve.js'
import { ConnectError } from '../errors.js'
import { now } from '../util/clock.js'
import { attempt, type OpenedClient, type OpenStep } from './attempt.js'
import { AttemptError, Failure, isPoolerWithoutServer } from './failures.js'
import type { AttemptTarget, FailureKind } from './failures.js'
import { abortable, withDeadline } from './waiting.js'

/** Finds the addresses of a name, in the order to try them. Default: the operating system's look-up, as libpq. */
export type LookUp = (name: string) => Promise<readonly string[]>

export interface OpenOptions {
  /** Stops the opening, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** When it must be over, on the clock of `now()`. */
  readonly deadline?: number
  /** Told of each step; must not throw. */
  readonly onStep?: (step: OpenStep) => void
  readonly lookUp?: LookUp
}

/**
 * Opens a connection: the hosts in order (or at random), each name's addresses in turn, each attempt within
 * `connect_timeout`, until one is what `target_session_attrs` asks for.
 *
 * @throws ConnectError with one error for each host and address that was tried; the signal's reason when it fires
 * @see PostgreSQL manual, "Specifying Multiple Hosts", "SSL Support" (libpq)
 */
export async function openClient(plan: ConnectPlan, options: OpenOptions = {}): Promise<OpenedClient> {
  const opening = new Opening(plan, options)
  const { targetSessionAttrs: wanted } = plan
  const hosts = inOrder(plan.hosts, plan)
  if (wanted !== 'prefer-standby') return opening.tryHosts(hosts, wanted)
  try {
    return await opening.tryHosts(hosts, 'standby')
  } catch (error) {
    if (!(error instanceof ConnectError) || opening.stopped) throw error
    return opening.tryHosts(hosts, 'any')
  }
}

/** One call of `openClient`: goes through the hosts, and keeps what went wrong with each. */
class Opening {
  /** Trying further is of no use: the server refused the login, or time is up. */
  stopped = false
  readonly #plan: ConnectPlan
  readonly #options: OpenOptions
  #errors: AttemptError[] = []

  constructor(plan: ConnectPlan, options: OpenOptions) {
    this.#plan = plan
    this.#options = options
  }

  /** Tries the hosts in order. Throws a ConnectError when none would do; the caller's signal's reason. */
  async tryHosts(hosts: readonly HostPlan[], wanted: TargetSessionAttrs): Promise<OpenedClient> {
    this.#errors = []
    for (const host of hosts) {
      const opened = await this.#tryHost(host, wanted)
      if (opened !== null) return opened
      if (this.stopped) break
    }
    const errors = this.#errors
    throw new ConnectError(errors.map(({ message }) => message).join('\n'), { errors })
  }

  async #tryHost(host: HostPlan, wanted: TargetSessionAttrs): Promise<OpenedClient | null> {
    const started = now()
    const targets = await this.#bounded(host, 0, (signal) => this.#findTargets(host, signal))
    // The first address shares its time with the look-up.
    let spent = now() - started
    for (const target of targets ?? []) {
      const context = { target, plan: this.#plan, wanted, onStep: this.#step }
      const opened = await this.#bounded(target, spent, (signal) => attempt({ ...context, signal }))
      if (opened !== null) return opened
      if (this.stopped || isHostDone(this.#errors.at(-1)!)) break
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
    return inOrder(addresses, this.#plan).map((address) => ({ host: name, port, address }))
  }

  readonly #step = (step: OpenStep): void => this.#options.onStep?.(step)

  /**
   * Does a part of the work in what is left of its time. Keeps a failure and gives null then; what is not a failure ends
   * the opening.
   *
   * @param spent milliseconds of `connect_timeout` that are over already
   */
  async #bounded<T>(
    target: AttemptTarget,
    spent: number,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T | null> {
    const { signal, deadline = Infinity } = this.#options
    const forAttempt = (this.#plan.connectTimeoutMillis || Infinity) - spent
    try {
      const timeoutMillis = Math.max(Math.min(forAttempt, deadline - now()), 1)
      return await withDeadline({ signal, timeoutMillis }, work)
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      const failure = error instanceof Failure ? new AttemptError(target, error, 'none') : error
      if (!(failure instanceof AttemptError)) throw error
      this.#errors.push(failure)
      this.#step({ kind: 'failed', error: failure })
      // A timer may fire a little early by this clock: what is left then is no time for another attempt.
      this.stopped = isFinal(failure) || now() + 2 >= deadline
      return null
    }
  }
}

/** In the order as given, or with `load_balance_hosts=random` in any other that is equally likely. */
function inOrder<T>(items: readonly T[], { loadBalanceHosts }: ConnectPlan): T[] {
  const order = [...items]
  if (loadBalanceHosts === 'disable') return order
  for (let last = order.length - 1; last > 0; last--) {
    const pick = Math.floor(Math.random() * (last + 1))
    ;[order[last], order[pick]] = [order[pick]!, order[last]!]
  }
  return order
}

/**
 * As with libpq: when a server refuses the login, or a demand is not met, the other hosts are not asked. A pooler that
 * has no server refuses nobody; the next one, maybe at another address of the same name, may have one.
 */
function isFinal(failure: AttemptError): boolean {
  if (failure.kind === 'policy') return true
  return failure.kind === 'refused' && !isUnavailable(failure) && !isPoolerWithoutServer(failure)
}

/** Whether the host's other addresses need not be tried: they lead to the same server. */
function isHostDone(failure: AttemptError): boolean {
  return failure.kind === 'session' || isUnavailable(failure)
}

/** The server is starting up, shutting down or in recovery: 57P0x. */
function isUnavailable({ code = '' }: AttemptError): boolean {
  return /^57P0.$/.test(code)
}

// ---- names

const systemLookUp: LookUp = async (name) => {
  const found = await lookup(name, { all: true, verbatim: true })
  return found.map(({ address }) => address)
}

const REASONS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'Name or service not known',
  EAI_AGAIN: 'Temporary failure in name resolution',
}

/** The addresses of a host that is not a Unix socket; a look-up that is answered too late is dropped. */
async function findAddresses(
  { host, hostaddr }: HostPlan,
  lookUp: LookUp,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (hostaddr !== undefined) return [hostaddr]
  if (isIP(host) !== 0) return [host]
  const notFound = (kind: FailureKind, why: string, cause?: unknown) =>
    new Failure(kind, `could not translate host name "${host}" to address: ${why}`, cause)
  try {
    const found = await abortable(signal, lookUp(host))
    if (found.length > 0) return found
  } catch (error) {
    const reason: unknown = signal.reason
    // Time ran out before there was an address that a message could name.
    if (reason instanceof Failure && reason.kind === 'timeout') throw notFound('timeout', reason.message)
    if (signal.aborted) throw reason
    const { code = '', message } = error as NodeJS.ErrnoException
    throw notFound('network', REASONS[code] ?? message, error)
  }
  throw notFound('network', 'no address associated with it')
}
