/** Connection strings that were written for somebody else, or damaged on their way here. Nothing of them is quoted. */

/** The first that fits a whole string counts. */
const FORMS: readonly (readonly [form: RegExp, advice: string])[] = [
  [
    /^\S*:\/\/[^]*[\r\n]/,
    'There is a line break in the connection string, as when it was copied from a file. Take it out; a shell’s $(…) ' +
      'drops it at the end.',
  ],
  [
    /^\s*(?:[A-Za-z_]\w*=)?\s*(["'`]).*:\/\/.*\1\s*$/,
    'The quotes round the connection string are part of it, as when it was copied from a .env file. Take them out, ' +
      'and the name of the variable in front of them.',
  ],
  [
    /^\s*(?:export\s+)?[A-Z][A-Z0-9_]*\s*=\s*\w+:\/\//,
    'The connection string begins with the name of a variable, as in a .env file. Give only what follows the "=".',
  ],
  [
    /^\s+\w+:\/\//,
    'There is a space before the scheme. Take it out: the string must begin with postgresql://.',
  ],
  [
    /^jdbc:/i,
    'This is a string for JDBC. Leave out "jdbc:", and write the parameters as libpq has them: ssl=true is ' +
      'sslmode=verify-full, currentSchema=… is options=-csearch_path%3D…, user and password are the same.',
  ],
  [
    /^postgres(?:ql)?\+\w+:\/\//i,
    'What follows the "+" names a driver of SQLAlchemy. Leave it out: postgresql://… is the rest as it is.',
  ],
  [
    /^prisma(?:\+postgres)?:\/\//i,
    'This string leads to a service of Prisma’s that speaks HTTP. Take the direct connection string of the database, ' +
      'which begins with postgresql://.',
  ],
  [
    /^(?:mysql|mariadb|mongodb|redis|sqlite|mssql|sqlserver|cockroachdb)\w*(?:\+\w+)?:/i,
    'The scheme is that of another database. This library connects to PostgreSQL: postgresql://user@host/dbname. ' +
      'CockroachDB takes postgresql://, too.',
  ],
  [/^(?:postgres|postgresql):(?!\/\/)/i, 'After the scheme come two slashes: postgresql://user@host/dbname.'],
  [
    /^(?!postgres(?:ql)?:)[A-Za-z][A-Za-z0-9+.-]*:\/\//,
    'The scheme must be postgresql:// or postgres://, in small letters.',
  ],
]

/** What to do about a string as a whole; undefined where it looks like one of ours. */
export function adviseOnForm(conninfo: string): string | undefined {
  return FORMS.find(([form]) => form.test(conninfo))?.[1]
}

const PRISMA = 'This is a parameter of Prisma’s. Leave it out here: '
const NODE = 'This is a parameter of other drivers for Node. '

/** Parameters of other programs, and what is there instead. */
const FOREIGN: Readonly<Record<string, string>> = {
  schema: `${PRISMA}options=-csearch_path%3DNAME sets the schema.`,
  connection_limit: `${PRISMA}a manager has one connection.`,
  pool_timeout: `${PRISMA}the manager’s option acquireTimeoutMillis says how long a task waits.`,
  pgbouncer: `${PRISMA}behind PgBouncer in transaction mode, give the manager the option pooler: 'transaction'.`,
  socket_timeout: `${PRISMA}the manager’s option statementTimeoutMillis limits a statement.`,
  statement_cache_size: `${PRISMA}the manager’s options prepare and maxPrepared say what is prepared.`,
  sslaccept: `${PRISMA}sslaccept=strict is sslmode=verify-full, and accept_invalid_certs is sslmode=require.`,
  sslidentity: `${PRISMA}name the client’s certificate and its key with sslcert and sslkey.`,
  uselibpqcompat: `${NODE}Leave it out: sslmode means here what it means for libpq, always.`,
  rejectUnauthorized: `${NODE}Instead of rejectUnauthorized=false give sslmode=require, instead of true sslmode=verify-full.`,
  currentSchema: 'This is a parameter of JDBC’s. Leave it out: options=-csearch_path%3DNAME sets the schema.',
  ssl:
    'Give sslmode instead. sslmode=require encrypts, as Heroku’s and other hosted servers want it, and does not ' +
    'check the certificate; sslmode=verify-full with an sslrootcert does; sslmode=disable does not encrypt.',
}

/** What to do about a parameter that another program has; undefined where none is known. */
export function adviseOnForeignName(name: string | undefined): string | undefined {
  return name !== undefined && Object.hasOwn(FOREIGN, name) ? FOREIGN[name] : undefined
}

/** What to do about a value that only another program has. */
export function adviseOnMode(message: string): string | undefined {
  if (!/^invalid sslmode value: "no-verify"/.test(message)) return undefined
  return (
    'sslmode=no-verify is a word of other drivers for Node: encrypted, and the certificate is not checked. Here, as ' +
    'for libpq, that is sslmode=require.'
  )
}
