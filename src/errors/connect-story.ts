/** How a `ConnectError` is shown where nobody asked for details: on a few lines that end in what to do. */

/** What of an attempt's error is looked at; the class itself is of a higher layer. */
interface Attempt extends Error {
  readonly kind: string
  readonly reason: string
  readonly code?: string
}

interface Story extends Error {
  readonly errors: readonly Error[]
}

/** Node adds up to nine lines to an uncaught error, and all of it is to be seen in fifteen. */
const LINES = 6

const HINT = 'To find out more, run `npx pg-managed-connection check` with the same connection string'

/** A bundle that is an ES module has no such name. */
const FILE = typeof __filename === 'string' ? __filename : ''

/** Where the compiled library is; undefined where a bundler has put it into a file of the program's. */
const HOME = /^(.*[/\\])errors[/\\]connect-story\.[jt]s$/.exec(FILE)?.[1]

/** Whether it was made while a host was tried, so that its message says all, and its frames say nothing. */
function isAttempt(error: unknown): error is Attempt {
  const { kind, reason } = (error ?? {}) as Partial<Attempt>
  return error instanceof Error && typeof kind === 'string' && typeof reason === 'string'
}

/**
 * Makes the stack short. It is what Node prints for an uncaught error, what `util.inspect` shows and what loggers
 * write down, so this is the place that serves them all. An error of the program's own, such as one of `onConnect`, is
 * told as any other, with its cause.
 */
export function tellBriefly(error: Story): void {
  const { errors, stack } = error
  // With a hook of the program's it may be anything.
  if (!errors.every(isAttempt) || typeof stack !== 'string') return
  const [first = error.message, ...more] = errors.map(({ message }) => onOneLine(message))
  const frames = programFrames(stack)
  const hosts = shorten(more, LINES - 3 - Math.min(frames.length, 1))
  const room = Math.max(LINES - 3 - hosts.length, 0)
  const lines = [
    `${error.name}: ${first}`,
    ...hosts.map((line) => `  ${line}`),
    ...frames.slice(0, room),
    `  ${adviseOn(errors.at(-1))}`,
    `  ${HINT}`,
  ]
  Object.defineProperty(error, 'stack', {
    value: lines.join('\n'),
    configurable: true,
    writable: true,
  })
}

/**
 * Turns `errors` and `cause` into accessors, which an inspection names but does not open: what they hold stands in the
 * stack already. A cause that is no attempt stays visible.
 */
export function foldAway(error: Story): void {
  fold(error, 'errors', true)
  if (isAttempt(error.cause)) fold(error, 'cause', false)
}

function fold(error: Story, name: 'errors' | 'cause', enumerable: boolean): void {
  let value: unknown = error[name]
  Object.defineProperty(error, name, {
    get: () => value,
    set: (next: unknown) => {
      value = next
    },
    enumerable,
    configurable: true,
  })
}

/** Ends the stack with the command that tells more: it knows the strings of other programs. */
export function pointToCheck(error: Error): void {
  const { stack } = error
  if (typeof stack !== 'string') return
  Object.defineProperty(error, 'stack', {
    value: `${stack}\n  ${HINT}`,
    configurable: true,
    writable: true,
  })
}

/** The question of libpq's that follows a refused connection is answered by the advice. */
export function onOneLine(message: string): string {
  return message.replace(/\n\tIs the server running [^?]*\?/g, '').replace(/\s*\n\s*/g, '; ')
}

function shorten(lines: readonly string[], room: number): readonly string[] {
  if (lines.length <= room) return lines
  return [...lines.slice(0, room - 1), `and ${lines.length - room + 1} more, in the field "errors"`]
}

/** The frames of a stack without those of this library and of Node. */
function programFrames(stack: string): string[] {
  const frames = stack.split('\n').filter((line) => /^ {4}at /.test(line))
  return frames.filter((line) => !isForeign(line))
}

function isForeign(frame: string): boolean {
  if (/\(node:|at (?:async )?node:|<anonymous>/.test(frame)) return true
  return HOME !== undefined && frame.includes(HOME)
}

const ADVICE: readonly (readonly [sign: RegExp, advice: string])[] = [
  [/^network ECONNREFUSED/, 'Check that the server runs, and that the host and the port are right.'],
  [/^network ENOENT/, 'Check that the server runs, and that the folder of its socket is right.'],
  [/^network (?:ENOTFOUND|EAI_)/, 'Check the spelling of the host, and whether this network knows the name.'],
  [/^network/, 'Check the address and the network, and what the server’s log says.'],
  [
    /^timeout/,
    'Check the address and the firewalls in between; a slow server needs a longer connect_timeout.',
  ],
  [/^tls/, 'Check sslmode and sslrootcert, and the certificate of the server.'],
  [/^refused 28P01/, 'Check the user and the password.'],
  [/^refused 28/, 'Check the user, and the lines of the server’s pg_hba.conf.'],
  [/^refused 3D000/, 'Check the name of the database.'],
  [/^refused 53300/, 'Close connections that are not used, or raise max_connections.'],
  [/^refused 57P0/, 'Try again in a moment: the server is starting or stopping.'],
  [/^session/, 'Check target_session_attrs, and that the right server is among the hosts.'],
  [/^protocol/, 'Check the host and the port: what answers there is not a PostgreSQL server.'],
]

function adviseOn(attempt: Attempt | undefined): string {
  const signs = `${attempt?.kind} ${attempt?.code ?? ''}`
  const found = ADVICE.find(([sign]) => sign.test(signs))
  return found?.[1] ?? 'Check the connection string, and what the environment adds to it.'
}
