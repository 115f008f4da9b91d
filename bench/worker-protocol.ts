/** What the bench says to the workers that it starts. */
import type { MessagePort } from 'node:worker_threads'
import type { Work } from './work.js'

/** What a worker does: by this library, or by a protocol of one message for each step. */
export const WORKER_KINDS = ['transaction', 'query', 'five messages'] as const

export type WorkerKind = (typeof WORKER_KINDS)[number]

/** The part of `Work` that can be copied to another thread. */
export type WorkFacts = Pick<Work, 'text' | 'statements'>

export interface WorkerSetting {
  readonly kind: WorkerKind
  readonly port: MessagePort
  readonly work: WorkFacts
  /** How many tasks ask at the same time in this worker. */
  readonly tasks: number
}

/** Works for so long, or does so many operations; the answer is operations per second. */
export type Order = { readonly millis: number } | { readonly count: number }
