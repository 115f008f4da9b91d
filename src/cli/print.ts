import type { LoginMethod } from '../connect/index.js'
import type { Palette } from './palette.js'
import { describeSource } from './parameter-facts.js'
import type {
  AttemptFacts,
  ConnectionFacts,
  EncryptionFacts,
  ParameterFacts,
  Problem,
  Report,
} from './report.js'

/** Wider values push their source aside instead of the whole column. */
const WIDEST_VALUE = 40

/** Advice is broken into lines of this width. */
const LINE_WIDTH = 100

/** A report for people. */
export function printReport(report: Report, palette: Palette): string {
  const { parameters, attempts, connection, problem, warnings } = report
  const sections = [
    section('Parameters', printParameters(parameters, palette), palette),
    section(
      'Hosts',
      attempts.flatMap((one) => printAttempt(one, palette)),
      palette,
    ),
    section('Connection', connection === null ? [] : printConnection(connection), palette),
    section(
      'Warnings',
      warnings.map((warning) => palette.warning(`! ${onePiece(warning)}`)),
      palette,
    ),
    // The problem of an attempt stands with the attempt.
    section('Problem', isSaid(problem, attempts) ? [] : printProblem(problem, palette), palette),
  ]
  const verdict = report.ok
    ? palette.good('The connection works.')
    : palette.bad('The connection does not work.')
  return `${[...sections.filter((text) => text !== ''), verdict].join('\n\n')}\n`
}

function section(title: string, lines: readonly string[], { heading }: Palette): string {
  if (lines.length === 0) return ''
  return [heading(title), ...lines.map((line) => line.replace(/^(?=.)/gm, '  '))].join('\n')
}

function printParameters(parameters: readonly ParameterFacts[], { dim }: Palette): string[] {
  const cells = parameters.map(
    (one) => [one.name, onePiece(one.value), onePiece(describeSource(one))] as const,
  )
  const nameWidth = Math.max(...cells.map(([name]) => name.length), 0)
  const valueWidth = Math.min(Math.max(...cells.map(([, value]) => value.length), 0), WIDEST_VALUE)
  return cells.map(([name, value, source], index) => {
    const { effect } = parameters[index]!
    const remark = effect === 'without effect' ? `${source}, without effect` : source
    return `${name.padEnd(nameWidth)}  ${value.padEnd(valueWidth)}  ${dim(remark)}`
  })
}

function printAttempt(attempt: AttemptFacts, palette: Palette): string[] {
  const where = describeWhere(attempt)
  switch (attempt.outcome) {
    case 'connected':
      return [`${palette.good('✔')} ${where}: connected in ${formatMillis(attempt.millis!)}`]
    case 'not tried':
      return [palette.dim(`- ${where}: not tried`)]
    case 'failed': {
      const [first = '', ...rest] = printProblem(attempt.problem, palette)
      const took = palette.dim(`(${formatMillis(attempt.millis!)})`)
      return [`${palette.bad('✘')} ${where}: ${first} ${took}`, ...rest.map((line) => `  ${line}`)]
    }
  }
}

function printProblem(problem: Problem | null, { bad }: Palette): string[] {
  if (problem === null) return []
  const [first = '', ...rest] = visible(problem.message).split('\n')
  return [
    bad(first.trim()),
    ...rest.map((line) => line.trim()),
    ...wrap(visible(problem.advice)).map((line, index) => `${index === 0 ? '→' : ' '} ${line}`),
  ]
}

/** Breaks long lines between words; a line that is indented is to be copied, and left alone. */
function wrap(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    if (line.startsWith(' ')) return [line]
    const lines = ['']
    for (const word of line.split(' ')) {
      const last = lines.at(-1)!
      if (last !== '' && last.length + word.length >= LINE_WIDTH) lines.push(word)
      else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
    }
    return lines
  })
}

/** Attempts say themselves what came of them. */
function isSaid(problem: Problem | null, attempts: readonly AttemptFacts[]): boolean {
  return problem === null || attempts.some((attempt) => attempt.problem === problem)
}

function describeWhere({ host, address, socket, port }: AttemptFacts): string {
  if (socket !== null) return `socket ${onePiece(socket)}`
  const name = host === '' ? address : host
  const found = address === null || address === name ? '' : ` (${address})`
  return `${onePiece(name ?? '')}${found}, port ${port}`
}

function printConnection(connection: ConnectionFacts): string[] {
  const { tls, role, roundTrip } = connection
  const rows: [string, string][] = [
    ['server', `PostgreSQL ${connection.serverVersion}`],
    ['encryption', tls === null ? 'not encrypted' : `${tls.protocol}, ${tls.cipher}`],
    ...(tls === null ? [] : printCertificate(tls)),
    ['authentication', describeAuthentication(connection.authentication)],
    ['role', describeRole(role)],
    ['database', connection.database ?? UNKNOWN],
    ['access', describeAccess(connection)],
    [
      'round trip',
      roundTrip === null
        ? UNKNOWN
        : `${formatMillis(roundTrip.medianMillis)}, the median of ${roundTrip.samples} times SELECT 1`,
    ],
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${onePiece(value)}`)
}

const UNKNOWN = 'unknown: the server did not say'

function printCertificate({ verified, certificate }: EncryptionFacts): [string, string][] {
  if (certificate === null) return [['certificate', 'none']]
  const { subject, issuer, names, validUntil, matchesHost } = certificate
  const name = matchesHost === null ? 'no host name to compare with' : matchesHost ? 'yes' : 'no'
  return [
    ['certificate', `${subject}${names === '' ? '' : ` (${names})`}`],
    ['  issued by', issuer],
    ['  valid until', validUntil],
    ['  verified', verified ? 'yes' : 'no'],
    ['  matches host', name],
  ]
}

const ASKED: Readonly<Record<LoginMethod, string>> = {
  none: 'nothing was asked for (trust, peer or a client certificate)',
  password: 'password (in clear, but for the encryption)',
  md5: 'md5',
  'scram-sha-256': 'scram-sha-256',
  'scram-sha-256-plus': 'scram-sha-256 with channel binding',
}

function describeAuthentication({ asked, systemUser }: ConnectionFacts['authentication']): string {
  return systemUser === null ? ASKED[asked] : `${ASKED[asked]}; for the server: ${systemUser}`
}

function describeRole({ current, session, superuser }: ConnectionFacts['role']): string {
  if (current === null) return UNKNOWN
  const login = session === null || session === current ? '' : `, logged in as ${session}`
  const rank = superuser === null ? '' : superuser ? ' (superuser)' : ' (not a superuser)'
  return `${current}${rank}${login}`
}

function describeAccess({ readOnly, inRecovery }: ConnectionFacts): string {
  if (inRecovery === true) return 'read-only: a standby in recovery'
  if (readOnly === null) return UNKNOWN
  return readOnly ? 'read-only by setting, on a primary' : 'read-write'
}

function formatMillis(millis: number): string {
  return millis < 10
    ? `${millis.toFixed(2)} ms`
    : millis < 1000
      ? `${millis.toFixed(0)} ms`
      : `${(millis / 1000).toFixed(1)} s`
}

/** What a server or a file says must not steer the terminal. */
function visible(text: string): string {
  return text.replace(/[^\P{Cc}\n]|[\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, ' ')
}

function onePiece(text: string): string {
  return visible(text).replace(/\n/g, ' ')
}
