/**
 * Tests that undo themselves: a manager whose every transaction is a savepoint in one that is never committed.
 *
 * @module pg-managed-connection/sandbox
 */
import { ReentrantAcquireError } from '../errors.js'
import { brokerOf, ManagerFace, rootOf } from '../face/manager-face.js'
import { SafeEmitter } from '../face/safe-emitter.js'
import { ScopedBroker, scopeOf } from '../face/scoped-broker.js'
import { beginText } from '../lease/begin.js'
import { AUTOCOMMIT } from '../lease/terms.js'
import { enclosingScope } from '../lease/holder-context.js'
import type { IsolationLevel, Manager } from '../index.js'
import type { EventSink } from '../api/ports.js'
import type { NoticeEvent } from '../events.js'
import { SandboxBroker } from './broker.js'
import { SandboxSession } from './session.js'

export { SandboxError } from './error.js'

/** What a manager's calls have in common. */
type Scope = ReturnType<typeof scopeOf>

/** What those who ask the manager meanwhile are told of its holder. */
const LABEL = 'an open sandbox'

/** Options of `openSandbox`. */
export interface SandboxOptions {
  /** Of the transaction that the sandbox is. Default: the server's `default_transaction_isolation`. */
  readonly isolationLevel?: IsolationLevel | undefined
}

/** A manager in which nothing is ever committed. Its end rolls everything back. */
export interface Sandbox extends Manager {
  /** Undoes everything since the beginning, or since the last `mark()`, in its turn. */
  reset(): Promise<void>
  /** What `reset()` goes back to from now on, in its turn. */
  mark(): Promise<void>
}

class SandboxFace extends ManagerFace implements Sandbox {
  readonly #own: SandboxBroker

  /** @param manager whose connection it is; what its calls have in common, those of the sandbox have, too */
  constructor(session: SandboxSession, manager: Manager, { base, options, common }: Scope) {
    let own: SandboxBroker | undefined
    super({ conninfo: String(manager), title: 'Sandbox' }, (events) => {
      own = new SandboxBroker(session, base, events)
      if (manager instanceof SafeEmitter) own.onEnd = passOnEvents(manager, events)
      return new ScopedBroker(own, { ...own.options, autocommit: options.autocommit }, common)
    })
    this.#own = own!
  }

  async reset(): Promise<void> {
    await this.#inTurn('reset', () => this.#own.session.reset())
  }

  async mark(): Promise<void> {
    await this.#inTurn('mark', () => this.#own.session.mark())
  }

  async #inTurn(member: string, work: () => Promise<void>): Promise<void> {
    refuseInside(this, member)
    await this.#own.inTurn({ timeoutMillis: this.#own.options.acquireTimeoutMillis }, work)
  }
}

/** What the server says meanwhile is said to the sandbox. Gives what ends that. */
function passOnEvents(manager: SafeEmitter, events: EventSink): () => void {
  const onNotice = (notice: NoticeEvent): void => events.tell('notice', notice)
  const onDisconnect = (...error: [Error?]): void => events.tell('disconnect', ...error)
  manager.on('notice', onNotice).on('disconnect', onDisconnect)
  return () => void manager.off('notice', onNotice).off('disconnect', onDisconnect)
}

function refuseInside(manager: object, member: string): void {
  if (enclosingScope(rootOf(manager)) !== undefined)
    throw new ReentrantAcquireError({ member, inside: 'callback', detachable: false })
}

/**
 * Opens a sandbox: it takes the manager's connection, in its turn, and keeps it until its end.
 *
 * ```ts
 * import { openSandbox } from 'pg-managed-connection/sandbox'
 *
 * await using sandbox = await openSandbox(manager)
 * await sandbox.transaction((connection) => connection.query('SELECT 1'))
 * await sandbox.reset()
 * ```
 *
 * @throws TypeError for what is no manager of this library; what `acquire` throws
 */
export async function openSandbox(manager: Manager, options: SandboxOptions = {}): Promise<Sandbox> {
  const under = typeof manager === 'object' ? brokerOf(manager) : undefined
  if (under === undefined) throw new TypeError('openSandbox() takes a manager of this library')
  const { isolationLevel } = options
  const begin = beginText({ isolationLevel })
  refuseInside(manager, 'openSandbox')
  const scope = scopeOf(under)
  const wait = { timeoutMillis: under.options.acquireTimeoutMillis, label: LABEL }
  const base = await scope.base.acquire(AUTOCOMMIT, wait, (lease) => lease)
  const session = new SandboxSession(base)
  try {
    await session.open(begin)
  } catch (error) {
    await base.release({ left: 'threw', error, close: false }).catch(() => {})
    throw error
  }
  return new SandboxFace(session, manager, scope)
}
