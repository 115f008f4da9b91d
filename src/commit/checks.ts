/**
 * Looks, once for each backend and before the first transaction that needs it, whether the server can keep what
 * `groupCommit` and `verifyCommit` promise; and keeps what it has said of itself.
 */
import { UnsupportedServerError } from '../errors.js'
import { QueryRequest } from '../pipeline/query-request.js'
import { ownStatement } from '../pipeline/statement-part.js'
import { TRAITS, type Request } from '../pipeline/request.js'
import { SEND, type RequestOwner } from '../pipeline/request-owner.js'
import { FLUSH_CHECK_TEXT } from './flushes.js'
import { tableFault, TABLE_TEXT, type TableFacts } from './receipt-table.js'
import { identityOf, IDENTITY_COLUMNS, type ServerIdentity } from './server-identity.js'
import type { QueryResult } from 'pg'
import type { CommitTerms } from '../api/ports.js'
import type { Backend } from '../backend/backend.js'
import type { ResolvedOptions } from '../options.js'

/** A check is a row that the server gives, or what is wrong. */
interface Check {
  /** Under which its answer is kept. */
  readonly key: string
  readonly option: 'groupCommit' | 'verifyCommit'
  readonly needs: string
  readonly text: string
  readonly values?: readonly string[]
  /** Why the answer will not do; null where it will. */
  fault(row: object | undefined, backend: Backend): string | null
}

const IDENTITY_KEY = 'identity'

function identity(option: Check['option']): Check {
  const needs = 'to know which server it speaks to (PostgreSQL 10)'
  return { key: IDENTITY_KEY, option, needs, text: `SELECT ${IDENTITY_COLUMNS}`, fault: () => null }
}

/** A function that is missing must not be found out when it is too late, so each of them is called here. */
const TRANSACTION_IDS: Check = {
  key: 'transaction ids',
  option: 'verifyCommit',
  needs: 'pg_xact_status() and pg_current_xact_id_if_assigned() (PostgreSQL 13)',
  text: 'SELECT pg_catalog.pg_xact_status(NULL), pg_catalog.pg_current_xact_id_if_assigned()',
  fault: () => null,
}

function flush(option: Check['option']): Check {
  const needs = 'pg_logical_emit_message() (PostgreSQL 9.6)'
  return { key: 'flush', option, needs, text: FLUSH_CHECK_TEXT, fault: () => null }
}

function receipts(table: string): Check {
  return {
    key: `receipts in ${table}`,
    option: 'verifyCommit',
    needs: 'a table for its receipts',
    text: TABLE_TEXT,
    values: [table],
    fault: (row) => {
      const reason = tableFault(row as TableFacts | undefined)
      return reason === null ? null : `${JSON.stringify(table)} ${reason}`
    },
  }
}

/** The process of the login is not the one that answers where a pooler is between, which may change it at any time. */
function directly(option: Check['option']): Check {
  return {
    key: `${option} by the same session`,
    option,
    needs: 'the same server session for each transaction',
    text: 'SELECT pg_catalog.pg_backend_pid() AS "processID"',
    fault: (row, { processID }) =>
      (row as ServerIdentity).processID === processID
        ? null
        : "a pooler is between; where it keeps a server connection for as long as its client is connected, say pooler: 'session'",
  }
}

type Answer = { readonly row: object | undefined } | { readonly error: Error }

/** What is known of a backend. */
class Known {
  readonly answers = new Map<string, Answer>()
  /** The terms whose checks it has passed: its answers stay the same. */
  readonly passed = new Set<string>()
}

export class CommitChecks {
  readonly #known = new WeakMap<Backend, Known>()
  readonly #maybePooled: boolean
  readonly #limitMillis: number

  constructor({ pooler, statementTimeoutMillis }: ResolvedOptions) {
    this.#maybePooled = pooler !== 'session' && pooler !== 'none'
    this.#limitMillis = statementTimeoutMillis
  }

  /** What has to be asked, or is wrong, before a transaction with these terms may begin; null where it may. */
  next(backend: Backend, terms: CommitTerms): Request | Error | null {
    const known = this.#known.get(backend) ?? new Known()
    this.#known.set(backend, known)
    const kind = kindOf(terms)
    if (known.passed.has(kind)) return null
    for (const check of this.#checksFor(terms)) {
      const found = this.#find(backend, check, known.answers)
      if (found !== null) return found
    }
    known.passed.add(kind)
    return null
  }

  *#checksFor({ group, verify }: CommitTerms): Generator<Check> {
    const option = group ? 'groupCommit' : 'verifyCommit'
    yield identity(option)
    if (this.#maybePooled && group) yield directly(option)
    yield flush(option)
    if (verify === true && this.#maybePooled) yield directly('verifyCommit')
    if (verify === true) yield TRANSACTION_IDS
    if (typeof verify === 'object') yield receipts(verify.table)
  }

  #find(backend: Backend, check: Check, answers: Map<string, Answer>): Request | Error | null {
    const answer = answers.get(check.key)
    if (answer === undefined) {
      return createRequest(check, this.#limitMillis, (told) => answers.set(check.key, told))
    }
    const error = 'error' in answer ? answer.error : null
    const reason = error === null ? check.fault((answer as { row?: object }).row, backend) : error.message
    if (reason === null) return null
    // The next who asks may find it mended.
    answers.delete(check.key)
    return new UnsupportedServerError(`${check.option} needs ${check.needs}: ${reason}`, {
      cause: error ?? undefined,
    })
  }

  /** The server and the session on it. To be asked for behind the checks. */
  identity(backend: Backend): ServerIdentity {
    return this.#row(backend, IDENTITY_KEY) as ServerIdentity
  }

  /** The table, quoted and with its schema. */
  tableName(backend: Backend, table: string): string {
    return (this.#row(backend, receipts(table).key) as TableFacts).name
  }

  #row(backend: Backend, key: string): object | undefined {
    return (this.#known.get(backend)!.answers.get(key) as { row: object | undefined }).row
  }

  /** It was a standby, which may be promoted: what it has said is asked for anew. */
  forget(backend: Backend): void {
    this.#known.delete(backend)
  }
}

/** What differs between the checks of one and of another. */
function kindOf({ group, verify }: CommitTerms): string {
  return `${group} ${typeof verify === 'object' ? `table ${verify.table}` : verify}`
}

function createRequest(
  { text, values = [], key }: Check,
  limitMillis: number,
  tell: (answer: Answer) => void,
): Request {
  const owner: RequestOwner = {
    admit: () => SEND,
    onAnswered: ({ error, outcome }) => {
      const row = error === null ? (outcome as QueryResult<object>).rows[0] : undefined
      tell(error === null ? { row: key === IDENTITY_KEY ? identityOf(row) : row } : { error })
    },
    onWithdrawn: () => {},
    onLost: () => {},
    withdraw: () => {},
    mayRetry: () => true,
  }
  // Nothing goes behind it before it is known how it went.
  return new QueryRequest(owner, ownStatement(text, { values }), {
    ...TRAITS,
    pipelining: 'tail',
    limitMillis,
  })
}
