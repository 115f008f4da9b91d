import { keywords } from '../../conninfo/keywords.js'
import { keywordMeantBy } from '../../conninfo/other-names.js'
import { nearestName } from '../../util/nearest-name.js'
import type { Problem } from '../report.js'
import { adviseOnForeignName, adviseOnForm, adviseOnMode } from './foreign-strings.js'
import { fill } from './rule.js'

interface Rule {
  readonly pattern: RegExp
  readonly advice: string
}

/** A tag for what to do about a message. */
const on =
  (pattern: RegExp) =>
  (texts: readonly string[], ...parts: string[]): Rule => ({ pattern, advice: fill(texts, parts) })

const PERCENT_CODES =
  'In a URI, write the special characters of a password as percent codes: "@" is %40, ":" %3A, "/" %2F, "?" %3F, ' +
  '"#" %23, "%" %25.'

/** The first that fits counts. */
const rules: readonly Rule[] = [
  on(/"@" behind the host/)`
    ${PERCENT_CODES} Nothing was tried, since a part of the password would have been shown as something else.
    If the "@" is part of a database’s name, write it as %40, too.`,
  on(/write an "@" in a password as %40/)`${PERCENT_CODES}`,
  on(/^missing "=" after/)`
    A connection string is a URI (postgresql://user@host/dbname) or a list such as host=… dbname=…. A value
    with spaces goes in single quotes: password='a b'. To name only a database, write dbname=NAME.`,
  on(/^unterminated quoted string/)`
    A value begins with a single quote and does not end with one. Inside, write a quote as \\' .`,
  on(/percent-encoded|unexpected spaces/)`
    In a URI, "%" must be followed by two hexadecimal digits; write a percent sign as %25 and a space as %20.`,
  on(/for connection option "port"|invalid port number/)`
    A port is a number from 1 to 65535. In a URI, what follows a colon is taken for it: if that is a password
    with special characters, write "/" as %2F, "?" as %3F, "#" as %23 and "@" as %40.`,
  on(/^could not match/)`
    Lists of hosts, addresses and ports go together: as many of each, or one port for all hosts.`,
  on(/definition of service|service file/)`
    Services are defined in the file that PGSERVICEFILE names, in ~/.pg_service.conf, or in pg_service.conf in
    the folder that PGSYSCONFDIR names: [name] on a line, then keyword=value lines without spaces round the "=".`,
  on(/^could not parse network address/)`
    hostaddr takes a numeric IPv4 or IPv6 address; a name goes into host.`,
  on(/^weak sslmode/)`Give the sslmode that the message names, or leave it out.`,
  on(/not supported|not compiled in|cannot be met/)`
    libpq can do this and this library cannot; since leaving it out would be weaker than what was asked for,
    it is an error. Leave the parameter out, or give a value that is supported.`,
  on(/^/)`See "Parameter Key Words" in the chapter on libpq of PostgreSQL’s manual for what is allowed.`,
]

/**
 * What to do about a bad connection string.
 *
 * @param conninfo the string as it was given; nothing of it is quoted
 */
export function diagnoseConninfo(message: string, conninfo = ''): Problem {
  const [, name] = /^invalid (?:connection option|URI query parameter):? "([^"]*)"/.exec(message) ?? []
  const { advice } = rules.find(({ pattern }) => pattern.test(message))!
  const known = adviseOnForm(conninfo) ?? adviseOnForeignName(name) ?? adviseOnMode(message)
  return { code: 'conninfo', message, advice: known ?? (name === undefined ? advice : adviseOnName(name)) }
}

function adviseOnName(name: string): string {
  const meant = keywordMeantBy(name) ?? nearestName(name, keywords.keys())
  const hint = meant === undefined ? '' : `Did you mean ${meant}? `
  return `${hint}The names are libpq’s: host, port, dbname, user, password, sslmode and others.`
}
