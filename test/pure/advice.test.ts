/** The kinds of problems that no server on this machine can be made to show: what they are called, and what is advised. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { internal } from '../support/internals.js'

const { AttemptError, Failure } = await internal('connect')
const { planConnection } = await internal('plan')
const { diagnose } = await internal('advice')

type FailedAttempt = Parameters<typeof diagnose>[0]
type AttemptFailure = InstanceType<typeof Failure>
type AttemptTarget = ConstructorParameters<typeof AttemptError>[0]

const TARGET: AttemptTarget = { host: 'db.example', port: 5432, address: '192.0.2.1' }
const SOCKET: AttemptTarget = { host: '/run/pg', port: 5432, socket: '/run/pg/.s.PGSQL.5432' }

function failed(failure: AttemptFailure, target: AttemptTarget): FailedAttempt {
  return {
    error: new AttemptError(target, failure, 'none'),
    socket: target.socket ?? null,
    reached: false,
    plan: planConnection('host=db.example connect_timeout=7', {}),
    parameters: [],
    fileWarnings: [],
  }
}

function withCode(code: string): Error {
  return Object.assign(new Error(`connect ${code}`), { code })
}

const NETWORK = 'the network failed'

const PROBLEMS: readonly [code: string, failure: AttemptFailure, target: AttemptTarget, advice: RegExp][] = [
  [
    'name-timed-out',
    new Failure('timeout', 'could not translate host name "db.example" to address: timeout expired'),
    TARGET,
    /name server did not answer within 7 s.*hostaddr/,
  ],
  [
    'timed-out',
    new Failure('timeout', 'timeout expired'),
    TARGET,
    /no answer from db\.example \(192\.0\.2\.1\), port 5432 within 7 s.*firewall/,
  ],
  [
    'socket-permission',
    new Failure('network', NETWORK, withCode('EACCES')),
    SOCKET,
    /may not use the socket \/run\/pg.*unix_socket_permissions/,
  ],
  [
    'unreachable',
    new Failure('network', NETWORK, withCode('EHOSTUNREACH')),
    TARGET,
    /no way to db\.example.*VPN/,
  ],
  [
    'tls-failed',
    new Failure('tls', 'handshake failure'),
    TARGET,
    /broke off while it was agreed on.*sslmode=disable/,
  ],
]

for (const [code, failure, target, advice] of PROBLEMS) {
  test(`${code} is told by its signs, and has advice of its own`, () => {
    const problem = diagnose(failed(failure, target))
    assert.equal(problem.code, code)
    assert.equal(problem.message, failure.message)
    assert.match(problem.advice!, advice)
  })
}
