/** What Bun and Deno cannot run, each with the reason: nothing is left out without one. */

export type Elsewhere = 'bun' | 'deno'

interface Gap {
  readonly on: readonly Elsewhere[]
  readonly why: string
  /** Files or folders of tests: `promises/use`, `packages/`. */
  readonly files?: readonly string[]
  /** Sentences of tests. */
  readonly tests?: readonly string[]
}

const BOTH = ['bun', 'deno'] as const

const GAPS: readonly Gap[] = [
  {
    on: BOTH,
    why: 'about the package, the documents and the tests’ own tools, and not about what runs them',
    files: ['packages/'],
  },
  {
    on: BOTH,
    why: 'waits for one file’s tests before it loads the next, and the runner begins none until all is loaded',
    files: ['faces/pglite-promises'],
  },
  {
    on: ['bun'],
    why: 'the runner takes uncaught exceptions for its own, whoever listens',
    tests: [
      'what a callback throws is an uncaught exception, and harms nobody',
      'strict without a listener is an uncaught exception, as with any emitter',
      'a drain listener that throws changes nothing of its query',
      'a listener that throws disturbs no client',
      'a listener that throws disturbs no turn, and its error is thrown again on a later tick',
    ],
  },
  {
    on: ['bun'],
    why: 'the runtime does not tell which timers and sockets are open',
    tests: ['an idle connection does not keep the process alive, one with allowExitOnIdle: false does'],
  },
  {
    on: BOTH,
    why: 'runs the command with a home folder that is not there, and the runtime makes it, in the way of other tests',
    files: ['promises/check'],
  },
  {
    on: ['bun'],
    why: 'a refused connection fails before the event loop turns: tasks that try again at once keep its timers waiting',
    tests: [
      'what was committed together and confirmed is there after a crash',
      'the crash is one that loses what was not flushed, or the test above would prove nothing',
    ],
  },
  {
    on: ['bun'],
    why: 'the runtime gives an error fields of its own, which differ between threads',
    tests: [
      'rows as arrays, duplicate and odd column names, no columns, no rows',
      'errors, with every field that the server sends',
    ],
  },
  {
    on: ['bun'],
    why: 'the runtime knows no NODE_DEBUG',
    tests: ['NODE_DEBUG writes the same to stderr'],
  },
  {
    on: ['bun'],
    why: 'the runtime shows the lines of the program around an uncaught error, whatever stands in them',
    tests: ['a process that dies of an error of the library prints no password'],
  },
  {
    on: ['bun'],
    why: 'the messages of its TLS are other ones',
    tests: ['a client certificate logs in; without it, or with a stranger’s, nobody does'],
  },
  {
    on: ['bun'],
    why: 'the runtime does not know the user’s name where USER is not set',
    tests: ['2000 random environments and service files are resolved as libpq resolves them'],
  },
  {
    on: ['bun'],
    why: 'strings may be longer there than any row',
    tests: ['a row longer than any string is left out, and nothing before or behind it, wherever it is cut'],
  },
  {
    on: ['bun'],
    why: 'the engine remembers no callers behind an await',
    tests: ['an error says who asked, where the server or the connection is what failed'],
  },
  {
    on: BOTH,
    why: 'the runtime shows an uncaught error in its own way, with all of its fields',
    files: ['promises/errors-shown'],
  },
  {
    on: ['bun'],
    why: 'after a pause of the process the program goes on before the runtime reads that the connection has ended',
    tests: ['query', 'batch', 'use'].map(
      (verb) => `a connection that died while the process was frozen is replaced before it is used: ${verb}`,
    ),
  },
  {
    on: ['deno'],
    why: 'the runtime has a TLS of its own: other messages, no log of keys, names always sent, wrong keys not told',
    tests: [
      'a client certificate logs in; without it, or with a stranger’s, nobody does',
      'a key behind a password needs sslpassword, which no message shows',
      'a key in DER is taken, of each kind that OpenSSL writes',
      'the name is sent ahead unless sslsni=0, and never an address',
      'sslkeylogfile receives the keys of the session',
    ],
  },
  {
    on: ['deno'],
    why: 'lists of revoked certificates are refused, because the runtime would not look at them',
    tests: [
      'revoked certificates are refused, by file and by directory',
      'the default files in ~/.postgresql are used when they are there',
    ],
  },
  {
    on: ['deno'],
    why: 'takes longer there than the test waits',
    tests: ['1000000 rows go in by COPY and come out again'],
  },
  {
    on: ['deno'],
    why: 'the runtime lists the names of a certificate without quoting them',
    tests: ['certificate with one name that pretends to be two'],
  },
  {
    on: ['deno'],
    why: 'the runtime goes on listing a socket that both sides have closed',
    tests: ['a CancelRequest leaves it to the other side to hang up, as libpq does'],
  },
  {
    on: ['bun'],
    why: 'the runtime’s own streams use the timers that a test runner has replaced',
    tests: [
      'fake timers of a test runner, installed after the import, neither stop a query nor wedge a limit',
    ],
  },
  {
    on: ['bun'],
    why: 'the runtime has other buffers, and counts them otherwise',
    tests: ['large values leave no buffers behind, and wait with their callers rather than in buffers'],
  },
  {
    on: BOTH,
    why: 'the runtime looks names up by another way than the one that the test holds up',
    tests: ['a name look-up that stalls: whoever asks gives up in time, and its late answer opens nothing'],
  },
  {
    on: ['deno'],
    why: 'a program on the command line is no module there, whatever --input-type says',
    tests: [
      ...['query()', 'use()', 'transaction()', 'a time-out that was not needed', 'nothing at all'].map(
        (what) => `a script that forgets end() exits by itself after ${what}`,
      ),
      'a statement that is under way keeps the process alive until it is answered',
      'allowExitOnIdle: false keeps the process alive until end()',
      'a backend that is killed while it is idle does not kill the process',
      'importing the package does nothing by itself',
      'a script that forgets end() still exits',
      'with allowExitOnIdle: false an idle connection keeps the process alive',
      'a statement that runs keeps the process alive until it is answered',
      'a backend that is ended: its FATAL is the cause, not the write that failed',
      'a process that dies of an error of the library prints no password',
      'a statement that nobody waits for is an unhandled rejection, traced or not',
      'a logger that throws disturbs nobody, and its error comes to light',
      'NODE_DEBUG writes the same to stderr',
      'where nobody listens it is a warning of the process',
      ...['query', 'batch', 'use'].map(
        (verb) =>
          `a connection that died while the process was frozen is replaced before it is used: ${verb}`,
      ),
    ],
  },
  {
    on: ['deno'],
    why: 'begins in the async context of the test before it, and passes by itself',
    tests: ['instruments see whom a statement goes to, its values and its name, and never the password'],
  },
]

/** Why a file is left out; null where it is not. */
export function filesLeftOut(runtime: Elsewhere, file: string): string | null {
  const gap = gapsOf(runtime).find(({ files = [] }) =>
    files.some((name) => (name.endsWith('/') ? file.startsWith(name) : file === name)),
  )
  return gap?.why ?? null
}

/** The tests that are left out of files that run, with the reasons. */
export function testsLeftOut(runtime: Elsewhere): Record<string, string> {
  const pairs = gapsOf(runtime).flatMap(({ tests = [], why }) => tests.map((test) => [test, why] as const))
  return Object.fromEntries(pairs)
}

function gapsOf(runtime: Elsewhere): readonly Gap[] {
  return GAPS.filter(({ on }) => on.includes(runtime))
}
