/** What the tasks of a schedule do, as data: made by chance from a seed, or written down. */
import type { ManagedConnectionOptions } from 'pg-managed-connection'
import type { Random } from '../random.js'

/** What a holder does in one step. */
export type Step =
  | 'insert'
  | 'insert two'
  | 'float'
  | 'insert in time'
  | 'two in time'
  | 'fail'
  | 'swallow'
  | 'violate'
  | 'look'
  | 'commit'
  | 'rollback'
  | 'nest'
  | 'nest and throw'
  | 'nest and swallow'
  | 'nothing'
  | 'deallocate'
  | 'throw'

/** How a task asks for the connection. */
export type Kind =
  | 'use'
  | 'autocommit'
  | 'transaction'
  | 'acquire'
  | 'query'
  | 'batch'
  | 'failing query'
  | 'failing batch'
  | 'explicit batch'
  | 'stray BEGIN'
  | 'close'

export interface Call {
  readonly kind: Kind
  readonly steps: readonly Step[]
  /** Gives up waiting: by a signal, or by a limit. */
  readonly wait?: 'signal' | 'limit'
  /** Closes the server connection behind it. */
  readonly close?: boolean
}

export interface Program {
  readonly options: ManagedConnectionOptions
  /** For each task what it asks for, one after the other. */
  readonly tasks: readonly (readonly Call[])[]
  /** How many connections may be killed or cut. */
  readonly deaths: number
  /** How many attempts to connect may be refused. */
  readonly refusals: number
  /** How many times the server may be slow: nothing is answered until it goes on. */
  readonly slow?: number
  /** How many times the server may crash, and lose what is not on its disk. */
  readonly crashes?: number
}

const KINDS: readonly Kind[] = [
  'use',
  'use',
  'use',
  'autocommit',
  'transaction',
  'transaction',
  'transaction',
  'acquire',
  'query',
  'query',
  'batch',
  'failing query',
  'failing batch',
  'explicit batch',
  'stray BEGIN',
  'close',
]

const STEPS: readonly Step[] = [
  'insert',
  'insert',
  'insert',
  'insert',
  'insert two',
  'float',
  'insert in time',
  'two in time',
  'fail',
  'swallow',
  'violate',
  'look',
  'look',
  'nest',
  'nest and throw',
  'nest and swallow',
  'nothing',
  'deallocate',
  'throw',
]
const ENDINGS: readonly Step[] = ['commit', 'commit', 'commit', 'rollback']

/** A program by chance. */
export function randomProgram(random: Random): Program {
  const tasks = Array.from({ length: 2 + random.below(3) }, () =>
    Array.from({ length: 1 + random.below(2) }, () => randomCall(random)),
  )
  return {
    options: randomOptions(random),
    tasks,
    deaths: random.below(3),
    refusals: random.below(2),
    slow: random.below(4),
    crashes: random.below(2),
  }
}

function randomCall(random: Random): Call {
  const kind = random.pick(KINDS)
  const ends = kind === 'use' || kind === 'acquire'
  const steps: Step[] = []
  for (let n = random.below(4); n > 0; n--) {
    steps.push(random.pick(STEPS))
    if (ends && random.chance(0.3)) steps.push(random.pick(ENDINGS))
  }
  if (ends && random.chance(0.7)) steps.push('commit')
  return {
    kind,
    steps,
    ...(random.chance(0.15) ? { wait: random.pick(['signal', 'limit'] as const) } : {}),
    ...(random.chance(0.1) ? { close: true } : {}),
  }
}

function randomOptions(random: Random): ManagedConnectionOptions {
  return {
    pipeline: random.chance(0.85),
    prepare: random.chance(0.8),
    maxPrepared: random.pick([1, 2, 256]),
    closeOn: random.chance(0.15) ? 'database-error' : 'broken',
    maxLifetimeMillis: random.chance(0.15) ? 40 : 0,
    maxHoldMillis: random.chance(0.15) ? 20 : 0,
    validateAfterIdleMillis: random.chance(0.15) ? 1 : 30_000,
    idleTimeoutMillis: random.chance(0.15) ? 5 : 0,
    releaseGraceMillis: random.chance(0.2) ? 20 : 5_000,
    acquireTimeoutMillis: random.chance(0.1) ? 50 : Infinity,
    reconnectTimeoutMillis: random.chance(0.2) ? 0 : 30_000,
    groupCommit: random.chance(0.3),
    verifyCommit: random.pick([false, false, true, { table: 'receipts' }]),
  }
}

/** Small programs for the systematic search: what is at stake when a turn is handed on behind a COMMIT. */
export const SMALL_PROGRAMS: Readonly<Record<string, Program>> = {
  'two transactions and a death': {
    options: { acquireTimeoutMillis: Infinity },
    tasks: [
      [{ kind: 'transaction', steps: ['insert'] }],
      [{ kind: 'transaction', steps: ['insert', 'insert'] }],
    ],
    deaths: 1,
    refusals: 0,
  },
  'a transaction, a one-shot and a death': {
    options: { acquireTimeoutMillis: Infinity },
    tasks: [[{ kind: 'transaction', steps: ['insert'] }], [{ kind: 'query', steps: [] }]],
    deaths: 1,
    refusals: 0,
  },
  'a transaction and two deaths': {
    options: { acquireTimeoutMillis: Infinity },
    tasks: [[{ kind: 'transaction', steps: ['insert'] }]],
    deaths: 2,
    refusals: 0,
  },
  'a statement that is not awaited, a commit and a death': {
    options: { acquireTimeoutMillis: Infinity },
    tasks: [[{ kind: 'acquire', steps: ['float', 'commit'] }]],
    deaths: 1,
    refusals: 0,
  },
  'a swallowed error, a use and two deaths': {
    options: { acquireTimeoutMillis: Infinity },
    tasks: [
      [{ kind: 'transaction', steps: ['insert', 'swallow'] }],
      [{ kind: 'use', steps: ['insert', 'commit', 'insert', 'commit'] }],
    ],
    deaths: 2,
    refusals: 0,
  },
  'a slow COMMIT, and a holder behind it who leaves with a statement in flight': {
    options: { acquireTimeoutMillis: Infinity, releaseGraceMillis: 20 },
    tasks: [[{ kind: 'transaction', steps: ['insert'] }], [{ kind: 'use', steps: ['float', 'throw'] }]],
    deaths: 0,
    refusals: 0,
    slow: 2,
  },
  'a slow COMMIT, and two limits behind it': {
    options: { acquireTimeoutMillis: Infinity, releaseGraceMillis: 20 },
    tasks: [[{ kind: 'transaction', steps: ['insert'] }], [{ kind: 'transaction', steps: ['two in time'] }]],
    deaths: 0,
    refusals: 0,
    slow: 2,
  },
  'a forgotten commit, a batch and a death': {
    options: { acquireTimeoutMillis: Infinity },
    tasks: [[{ kind: 'use', steps: ['insert'] }], [{ kind: 'batch', steps: [] }]],
    deaths: 1,
    refusals: 0,
  },
  'two grouped transactions and a crash': {
    options: { groupCommit: true },
    tasks: [[{ kind: 'transaction', steps: ['insert'] }], [{ kind: 'transaction', steps: ['insert'] }]],
    deaths: 0,
    refusals: 0,
    crashes: 1,
  },
  'a grouped transaction that the connection is closed behind, and another one in line': {
    options: { groupCommit: true },
    tasks: [
      [{ kind: 'transaction', steps: ['insert'] }],
      [{ kind: 'close', steps: [] }],
      [{ kind: 'transaction', steps: ['insert'] }],
    ],
    deaths: 0,
    refusals: 0,
  },
  'a grouped transaction, a one-shot, a crash and a death': {
    options: { groupCommit: true },
    tasks: [[{ kind: 'transaction', steps: ['insert'] }], [{ kind: 'query', steps: [] }]],
    deaths: 1,
    refusals: 0,
    crashes: 1,
  },
  'transactions that are found out about by id, and two deaths': {
    options: { verifyCommit: true },
    tasks: [[{ kind: 'transaction', steps: ['insert'] }], [{ kind: 'batch', steps: [] }]],
    deaths: 2,
    refusals: 0,
  },
  'transactions that are found out about by id, a death and a crash': {
    options: { verifyCommit: true, groupCommit: true },
    tasks: [[{ kind: 'transaction', steps: ['insert'] }], [{ kind: 'transaction', steps: ['insert'] }]],
    deaths: 1,
    refusals: 0,
    crashes: 1,
  },
  'transactions that are found out about by receipt, a death and a crash': {
    options: { verifyCommit: { table: 'receipts' }, groupCommit: true },
    tasks: [[{ kind: 'transaction', steps: ['insert'] }], [{ kind: 'batch', steps: [] }]],
    deaths: 1,
    refusals: 0,
    crashes: 1,
  },
}
