/**
 * How the library commits a transaction of its own: the group that its COMMIT waits with, and the evidence by which
 * the outcome can be found out if the answer is lost.
 */
import { randomUUID } from 'node:crypto'
import { NOTHING_WRITTEN, notKnown, type Evidence, type Verdict } from '../commit/evidence.js'
import { ConnectionLostError } from '../errors.js'
import { QueryRequest, StatementsRequest } from '../pipeline/query-request.js'
import { TRAITS, type Request } from '../pipeline/request.js'
import { ownStatement } from '../pipeline/statement-part.js'
import { clock, now } from '../util/clock.js'
import { Question } from './question.js'
import type { QueryResult } from 'pg'
import type { Statement } from '../api/statement.js'
import type { CommitTerms } from '../api/ports.js'
import type { Backend } from '../backend/backend.js'
import type { Commits } from '../commit/commits.js'
import type { ServerIdentity } from '../commit/server-identity.js'
import type { LeaseRequests } from './lease-requests.js'
import type { EndAnswer } from './settlement.js'

const ID_TEXT = 'SELECT pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text AS answer'
const ID_QUESTION = ownStatement(ID_TEXT, { preparable: true })
/** What is written elsewhere, to a foreign table for example, gives the transaction no id here. */
const ASSIGN_TEXT = 'SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text AS answer'
const MAY_WRITE = /\b(?:insert|update|delete|merge|copy|truncate|create|alter|drop)\b/i
const READ_ONLY_TEXT = "SELECT pg_catalog.current_setting('transaction_read_only') AS answer"

/** NOTIFY and held cursors take effect at COMMIT, and have no transaction id before; functions may do such things unseen. */
const TAKES_EFFECT_LATE = /notify|hold/i
const MAY_MAKE_READ_ONLY = /read[\s_]+only/i

const IN_FAILED_TRANSACTION = '25P02'
const INSUFFICIENT_PRIVILEGE = '42501'
const RECEIPT_HINT =
  'verifyCommit leaves its receipt as the role of the transaction: see the roles of createReceiptTable()'

export class Commitment {
  readonly #terms: CommitTerms
  readonly #commits: Commits
  readonly #requests: LeaseRequests
  /** Who answers, once the checks have been passed. */
  #session: ServerIdentity | null = null
  /** The transaction's id, once it has one. */
  #id: string | null = null
  /** It was asked for behind the last statement. */
  #isCurrent = false
  #lastSent: Request | null = null
  #takesEffectLate = false
  #mayWrite = false
  #mayBeReadOnly: boolean
  #evidence: Evidence | null = null
  #receipt: Request | null = null

  /** @param begin the text of its BEGIN */
  constructor(terms: CommitTerms, begin: string, requests: LeaseRequests, commits: Commits) {
    this.#terms = terms
    this.#mayBeReadOnly = MAY_MAKE_READ_ONLY.test(begin)
    this.#requests = requests
    this.#commits = commits
  }

  // ---- before the transaction begins

  /** What has to be asked of the server first, or is wrong with it; null where the transaction may begin. */
  obstacle(backend: Backend): Request | Error | null {
    if (this.#session !== null) return null
    const { checks } = this.#commits
    const found = checks.next(backend, this.#terms)
    if (found !== null) return found
    this.#session = checks.identity(backend)
    if (this.#session.recovering) checks.forget(backend)
    return null
  }

  /** Another backend stands in: it has to pass the checks, too. */
  onReopened(): void {
    this.#session = null
    this.#isCurrent = false
  }

  // ---- while it runs

  /** A statement is being sent: the question for the transaction's id, where that can go along. */
  questionBehind(request: Request): Statement | null {
    if (this.#terms.verify === false) return null
    if (request.traits.harmful || TAKES_EFFECT_LATE.test(request.text)) this.#takesEffectLate = true
    if (MAY_MAKE_READ_ONLY.test(request.text)) this.#mayBeReadOnly = true
    if (MAY_WRITE.test(request.text)) this.#mayWrite = true
    this.#isCurrent = false
    this.#lastSent = request
    const takesIt = request instanceof StatementsRequest && request.traits.pipelining !== 'exclusive'
    return this.#terms.verify === true && this.#id === null && takesIt ? ID_QUESTION : null
  }

  onAnswered(request: Request): void {
    if (!(request instanceof StatementsRequest) || request.admission.trailer === null) return
    // In a transaction that has failed it is not answered, and asked again before COMMIT.
    const answer = request.trailing as QueryResult<{ answer: string | null }> | undefined
    if (answer === undefined) return
    this.#id ??= answer.rows[0]!.answer
    this.#isCurrent = request === this.#lastSent
  }

  async #ask(text: string): Promise<string | null | undefined> {
    const { backend } = this.#requests
    if (backend === null || backend.lost !== null) return undefined
    const { limitMillis } = this.#commits
    const question = new Question(text, limitMillis, () => this.#requests.transaction.open)
    backend.pipeline.submit(question.request)
    return question.answer
  }

  // ---- at its end

  /** Gathers the evidence, right before COMMIT is sent. Null where nothing has to be waited for. */
  prepare(): Promise<void> | null {
    const { verify } = this.#terms
    const session = this.#session
    if (verify === false || session === null || session.recovering) return null
    const isKnown = this.#id !== null || (this.#isCurrent && !this.#mayWrite)
    if (verify === true) return isKnown ? this.#keepID() : this.#learnID()
    const isDoubtful = session.readOnly || this.#mayBeReadOnly || this.#requests.backend?.mayBeReadOnly
    return isDoubtful ? this.#leaveReceiptIfWritable(verify.table) : this.#leaveReceipt(verify.table)
  }

  async #learnID(): Promise<void> {
    this.#id = (await this.#ask(this.#mayWrite ? ASSIGN_TEXT : ID_TEXT)) ?? null
    this.#keepID()
  }

  #keepID(): null {
    if (this.#id !== null) this.#evidence = { kind: 'id', session: this.#session!, id: this.#id }
    return null
  }

  async #leaveReceiptIfWritable(table: string): Promise<void> {
    if ((await this.#ask(READ_ONLY_TEXT)) === 'off') this.#leaveReceipt(table)
  }

  /** In the same write as COMMIT. */
  #leaveReceipt(table: string): null {
    const { backend, transaction } = this.#requests
    if (backend === null || !transaction.open) return null
    const session = this.#session!
    const name = this.#commits.checks.tableName(backend, table)
    const id = randomUUID()
    const sentAt = session.time + (clock.wallNow() - session.readAt) / 1_000
    const isOwn = session.processID === backend.processID
    this.#evidence = { kind: 'receipt', session, isOwn, table: name, id, mark: randomUUID(), sentAt }
    const statement = ownStatement(`INSERT INTO ${name} (id) VALUES ($1)`, { values: [id], preparable: true })
    // Where the transaction had failed before, this fails as well, and COMMIT tells why.
    const traits = { ...TRAITS, precedesCommit: true, limitMillis: this.#commits.limitMillis }
    this.#receipt = new QueryRequest(this.#requests, statement, traits)
    this.#requests.issue(this.#receipt)
    return null
  }

  /** Where nothing but the receipt has failed, its error says more than that COMMIT was answered ROLLBACK. */
  #throwRefusal(): void {
    const error = this.#receipt?.error as (Error & { code?: unknown; hint?: string }) | null | undefined
    if (error == null || error.code === IN_FAILED_TRANSACTION) return
    if (error.code === INSUFFICIENT_PRIVILEGE) error.hint ??= RECEIPT_HINT
    throw error
  }

  /** COMMIT has been sent. Gives the promise that it is durable; null where its own answer says that. */
  join(): Promise<void> | null {
    if (!this.#terms.group || this.#session === null || this.#session.recovering) return null
    const durable = this.#commits.flushes.join()
    durable.catch(() => {})
    return durable
  }

  /**
   * Waits until it is certain what became of the COMMIT.
   *
   * @param mayRetry what went before it may be done again
   * @throws ConnectionLostError where it was not committed, or nobody can tell
   */
  async confirm(
    answered: Promise<EndAnswer>,
    durable: Promise<void> | null,
    mayRetry: boolean,
  ): Promise<EndAnswer> {
    const done = this.#commits.expect()
    const { backend } = this.#requests
    let isAnswered = false
    try {
      const answer = await answered
      if (answer.tag === 'ROLLBACK') this.#throwRefusal()
      if (durable === null || answer.tag !== 'COMMIT') return answer
      isAnswered = true
      await durable
      this.#commits.counters.groupCommits++
      return answer
    } catch (error) {
      // Who comes behind it must not cost it its flush: what is given up because of them is no crash.
      const isOthersFault = isAnswered && backend?.isGivenUp === true
      if (isOthersFault) this.#evidence ??= { kind: 'answer', session: this.#session! }
      const isOpen = error instanceof ConnectionLostError && error.commitOutcome === 'unknown'
      if ((this.#terms.verify === false && !isOthersFault) || !isOpen) throw error
      await this.#verify(error, mayRetry)
      return { tag: 'COMMIT', failedBefore: null }
    } finally {
      done()
    }
  }

  async #verify({ cause }: ConnectionLostError, mayRetry: boolean): Promise<void> {
    const startedAt = now()
    const verdict = await this.#verdict()
    if (this.#terms.verify !== false) this.#commits.tell(verdict, now() - startedAt)
    if (verdict.outcome === 'committed') return
    const isNone = verdict.outcome === 'none'
    if (isNone && mayRetry) this.#requests.transaction.mayHaveCommitted = false
    throw new ConnectionLostError({
      commitOutcome: verdict.outcome,
      retrySafe: isNone && mayRetry,
      cause,
      verification: verdict.reason,
    })
  }

  #verdict(): Promise<Verdict> | Verdict {
    if (this.#evidence !== null) return this.#commits.verify(this.#evidence)
    return this.#takesEffectLate
      ? notKnown('NOTIFY, held cursors and functions may take effect at COMMIT, and leave nothing to ask for')
      : NOTHING_WRITTEN
  }
}
