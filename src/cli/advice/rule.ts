import type { ConnectPlan } from '../../conninfo/plan.js'
import type { AttemptError, FailureKind } from '../../connect/index.js'
import { memberOf } from '../../util/thrown.js'
import { describeSource } from '../parameter-facts.js'
import type { ParameterFacts } from '../report.js'

/** A failed attempt, with all that advice may depend on. */
export interface FailedAttempt {
  readonly error: AttemptError
  /** The Unix socket that was tried, if it was one. */
  readonly socket: string | null
  /** Whether somebody had accepted the connection. */
  readonly reached: boolean
  readonly plan: ConnectPlan
  readonly parameters: readonly ParameterFacts[]
  /** Why a password file that is there is not used. */
  readonly fileWarnings: readonly string[]
}

type Test = (failed: FailedAttempt) => boolean
type Part = (failed: FailedAttempt) => string | number

/** Kinds of problems by their names: how each is recognised, and what to do about it. */
export type Rules = Readonly<
  Record<string, readonly [applies: Test, advise: (failed: FailedAttempt) => string]>
>

/** What tells a failure from others of its kind. The routine is the server's function, whose name is never translated. */
interface Signs {
  readonly code?: RegExp
  readonly reason?: RegExp
  readonly routine?: RegExp
}

/** Whether a failure is of a kind and has all of the signs. */
export function isFailure(kind: FailureKind, signs: Signs = {}): Test {
  const { code = /^/, reason = /^/, routine = /^/ } = signs
  return ({ error }) =>
    error.kind === kind &&
    code.test(error.code ?? '') &&
    reason.test(error.reason) &&
    routine.test(String(memberOf(error.cause, 'routine') ?? ''))
}

/** A tag for advice, into which the parts are put that the failure has. */
export function when(applies: Test): (texts: readonly string[], ...parts: Part[]) => Rules[string] {
  return (texts, ...parts) => {
    const found = (failed: FailedAttempt) => parts.map((part) => part(failed))
    return [applies, (failed) => fill(texts, found(failed))]
  }
}

/** The same for failures of a kind that have all of the signs. */
export const on = (kind: FailureKind, signs?: Signs) => when(isFailure(kind, signs))

/** A text that is written over several indented lines, as one. What is put in stays as it is. */
export function fill(texts: readonly string[], parts: readonly (string | number)[]): string {
  const raw = texts.map((text, index) => (index === 0 ? text.trimStart() : text).replace(/\n +/g, ' '))
  return String.raw({ raw }, ...parts)
}

/** Whom the attempt went to: a socket, or a host and its address. */
export function where({ error: { host, address, port }, socket }: FailedAttempt): string {
  if (socket !== null) return `the socket ${socket}`
  if (address === null) return `${host}, port ${port}`
  return host === '' || host === address ? `${address}, port ${port}` : `${host} (${address}), port ${port}`
}

/** Where a parameter's value comes from, in words. */
export function originOf(name: string): (failed: FailedAttempt) => string {
  return ({ parameters }) => {
    const found = parameters.find((one) => one.name === name)
    return found === undefined ? 'default' : describeSource(found)
  }
}
