import type { WriteStream } from 'node:tty'
import { styleText } from 'node:util'
import type { LoginMethod } from '../connect/index.js'
import { describeSource } from './parameter-facts.js'
import { hang, wrap } from './wrap.js'
import type { AttemptFacts, ConnectionFacts, EncryptionFacts } from './report.js'
import type { ParameterFacts, Problem, Report } from './report.js'

/** Wider values push their source aside instead of the whole column. */
const WIDEST_VALUE = 40

/** How a report is printed. */
export interface Look {
  readonly palette: Palette
  /** Of the terminal, in columns. */
  readonly width: number
  /** Whether parameters at their defaults are listed, too. */
  readonly all: boolean
}

/** A report for people: the answer, then what it rests on. */
export function printReport(report: Report, look: Look): string {
  const { attempts, connection, warnings } = report
  // What follows is indented.
  const inner = { ...look, width: look.width - 2 }
  const { heading, warning: colored } = look.palette
  const sections: Record<string, string[]> = {
    Warnings: warnings.flatMap((warning) => hang('! ', onePiece(warning), inner.width).map(colored)),
    Hosts: attempts.flatMap((one) => printAttempt(one, report.problem, inner)),
    Connection: connection === null ? [] : printConnection(connection, inner),
    Parameters: printParameters(report.parameters, inner),
  }
  const printed = Object.entries(sections)
    .filter(([, lines]) => lines.length > 0)
    .map(([title, lines]) => [heading(title), ...lines.map((line) => `  ${line}`)].join('\n'))
  return `${[printAnswer(report, look).join('\n'), ...printed].join('\n\n')}\n`
}

function printAnswer({ problem, attempts, connection }: Report, { palette, width }: Look): string[] {
  const taken = attempts.find(({ outcome }) => outcome === 'connected')
  if (problem === null) {
    const what = connection === null ? '' : `: ${describeAnswer(connection, taken)}`
    return wrap(`The connection works${what}.`, width).map(palette.good)
  }
  const failed = attempts.find((attempt) => attempt.problem === problem)
  const where = failed === undefined ? '' : `${describeWhere(failed)}: `
  const why = `The connection does not work. ${where}${flatten(problem.message)}`
  return [...wrap(why, width).map(palette.bad), ...printAdvice(problem, width)]
}

/** To which server, as whom, how encrypted, how fast. */
function describeAnswer(connection: ConnectionFacts, taken: AttemptFacts | undefined): string {
  const { serverVersion, role, database, tls, roundTrip } = connection
  const at = taken === undefined ? '' : ` at ${describeWhere(taken)}`
  const verified = tls?.verified === true ? 'verified' : 'not verified'
  return onePiece(
    [
      `PostgreSQL ${serverVersion}${at}`,
      ...(database === null ? [] : [`database ${database}`]),
      ...(role.current === null ? [] : [`as ${role.current}`]),
      tls === null ? 'not encrypted' : `encrypted with ${tls.protocol}, certificate ${verified}`,
      ...(roundTrip === null ? [] : [`${formatMillis(roundTrip.medianMillis)} for a round trip`]),
    ].join('; '),
  )
}

function printParameters(parameters: readonly ParameterFacts[], look: Look): string[] {
  const listed = parameters.filter(({ source }) => look.all || source !== 'default')
  const cells = listed.map((one) => [one.name, onePiece(one.value), describeRemark(one)] as const)
  const nameWidth = Math.max(...cells.map(([name]) => name.length), 0)
  const valueWidth = Math.min(Math.max(...cells.map(([, value]) => value.length), 0), WIDEST_VALUE)
  const rows = cells.flatMap(([name, value, remark]) => {
    const head = `${name.padEnd(nameWidth)}  `
    const wide = `${head}${value.padEnd(valueWidth)}  `
    if (wide.length + remark.length <= look.width) return [`${wide}${look.palette.dim(remark)}`]
    return hang(head, `${value} (${remark})`, look.width)
  })
  const left = parameters.length - listed.length
  if (left === 0) return rows
  return [...rows, look.palette.dim(`${left} ${left === 1 ? 'is' : 'are'} at the default; --all lists them`)]
}

function describeRemark(one: ParameterFacts): string {
  const source = onePiece(describeSource(one))
  return one.effect === 'without effect' ? `${source}, without effect` : source
}

/** The advice on `answered` stands in the answer already. */
function printAttempt(attempt: AttemptFacts, answered: Problem | null, { palette, width }: Look): string[] {
  const where = describeWhere(attempt)
  const { outcome, millis, problem } = attempt
  if (outcome === 'not tried') return hang('- ', `${where}: not tried`, width).map(palette.dim)
  const took = formatMillis(millis!)
  if (problem === null) return hang('✔ ', `${where}: connected in ${took}`, width).map(palette.good)
  const lines = hang('✘ ', `${where}: ${flatten(problem.message)} (${took})`, width).map(palette.bad)
  if (problem === answered) return lines
  return [...lines, ...printAdvice(problem, width - 2).map((line) => `  ${line}`)]
}

function printAdvice({ advice }: Problem, width: number): string[] {
  return hang('→ ', visible(advice), width)
}

/** A message of several lines as one. */
function flatten(message: string): string {
  return visible(message)
    .split('\n')
    .map((line) => line.trim())
    .join('; ')
}

function describeWhere({ host, address, socket, port }: AttemptFacts): string {
  if (socket !== null) return `socket ${onePiece(socket)}`
  const name = host === '' ? address : host
  const found = address === null || address === name ? '' : ` (${address})`
  return `${onePiece(name ?? '')}${found}, port ${port}`
}

function printConnection(connection: ConnectionFacts, { width: room }: Look): string[] {
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
    ...(connection.pooler === true ? [['pooler', 'one is in between'] as [string, string]] : []),
    ['round trip', describeRoundTrip(connection)],
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.flatMap(([name, value]) => hang(`${name.padEnd(width)}  `, onePiece(value), room))
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
