import type { WriteStream } from 'node:tty'
import { styleText } from 'node:util'
import type { LoginMethod } from '../connect/index.js'
import { describeSource } from './parameter-facts.js'
import type { AttemptFacts, ConnectionFacts, EncryptionFacts } from './report.js'
import type { ParameterFacts, Problem, Report } from './report.js'

/** Wider values push their source aside instead of the whole column. */
const WIDEST_VALUE = 40

/** Advice is broken into lines of this width. */
const LINE_WIDTH = 100

/** A report for people. */
export function printReport(report: Report, palette: Palette): string {
  const { parameters, attempts, connection, problem, warnings } = report
  // The problem of an attempt stands with the attempt.
  const isSaid = attempts.some((attempt) => attempt.problem === problem)
  const sections: Record<string, string[]> = {
    Parameters: printParameters(parameters, palette),
    Hosts: attempts.flatMap((one) => printAttempt(one, palette)),
    Connection: connection === null ? [] : printConnection(connection),
    Warnings: warnings.map((warning) => palette.warning(`! ${onePiece(warning)}`)),
    Problem: problem === null || isSaid ? [] : printProblem(problem, palette),
  }
  const printed = Object.entries(sections)
    .filter(([, lines]) => lines.length > 0)
    .map(([title, lines]) => {
      return [palette.heading(title), ...lines.map((line) => line.replace(/^(?=.)/gm, '  '))].join('\n')
    })
  const { good, bad } = palette
  const verdict = report.ok ? good('The connection works.') : bad('The connection does not work.')
  return `${[...printed, verdict].join('\n\n')}\n`
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
  const { outcome, millis, problem } = attempt
  if (outcome === 'not tried') return [palette.dim(`- ${where}: not tried`)]
  const took = formatMillis(millis!)
  if (problem === null) return [`${palette.good('✔')} ${where}: connected in ${took}`]
  const [first = '', ...rest] = printProblem(problem, palette)
  return [
    `${palette.bad('✘')} ${where}: ${first} ${palette.dim(`(${took})`)}`,
    ...rest.map((line) => `  ${line}`),
  ]
}

function printProblem(problem: Problem, { bad }: Palette): string[] {
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

function describeWhere({ host, address, socket, port }: AttemptFacts): string {
  if (socket !== null) return `socket ${onePiece(socket)}`
  const name = host === '' ? address : host
  const found = address === null || address === name ? '' : ` (${address})`
  return `${onePiece(name ?? '')}${found}, port ${port}`
}

function printConnection(connection: ConnectionFacts): string[] {
  const { tls, role } = connection
  const { asked, systemUser } = connection.authentication
  const rows: [string, string][] = [
    ['server', `PostgreSQL ${connection.serverVersion}`],
    ['encryption', tls === null ? 'not encrypted' : `${tls.protocol}, ${tls.cipher}`],
    ...(tls === null ? [] : printCertificate(tls)),
    ['authentication', systemUser === null ? ASKED[asked] : `${ASKED[asked]}; for the server: ${systemUser}`],
    ['role', describeRole(role)],
    ['database', connection.database ?? UNKNOWN],
    ['access', describeAccess(connection)],
    ['round trip', describeRoundTrip(connection)],
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

function describeRoundTrip({ roundTrip }: ConnectionFacts): string {
  if (roundTrip === null) return UNKNOWN
  return `${formatMillis(roundTrip.medianMillis)}, the median of ${roundTrip.samples} times SELECT 1`
}

function formatMillis(millis: number): string {
  if (millis < 10) return `${millis.toFixed(2)} ms`
  return millis < 1000 ? `${millis.toFixed(0)} ms` : `${(millis / 1000).toFixed(1)} s`
}

/** What a server or a file says must not steer the terminal. */
function visible(text: string): string {
  return text.replace(/[^\P{Cc}\n]|[\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, ' ')
}

function onePiece(text: string): string {
  return visible(text).replace(/\n/g, ' ')
}

/** How the parts of a report look. */
type Palette = ReturnType<typeof makePalette>

/** Whether a stream is to be written to in colour: a terminal that has colours, unless the environment says no. */
export function wantsColor(stream: Partial<WriteStream>, env: NodeJS.ProcessEnv): boolean {
  if (env['NO_COLOR']) return false
  return stream.isTTY === true && stream.hasColors?.(env) === true
}

/** Colours, or none. */
export function makePalette(color: boolean) {
  // It is decided already whether the stream takes colours.
  const paint = (format: Parameters<typeof styleText>[0]) => (text: string) =>
    color && text !== '' ? styleText(format, text, { validateStream: false }) : text
  return {
    heading: paint('bold'),
    dim: paint('dim'),
    good: paint('green'),
    bad: paint('red'),
    warning: paint('yellow'),
  }
}
