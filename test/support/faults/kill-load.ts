/** A worker that writes to a table until it is killed, and notes in shared memory what it knows of each row. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { attach } from 'pg-managed-connection/worker'
import { Random } from '../random.js'
import type { Connection, Manager } from 'pg-managed-connection'

/** What a worker knows of a row, as a number in shared memory. */
export const FATES = ['unused', 'unknown', 'stored', 'gone'] as const

/** How a worker comes to its end. */
export const ENDS = ['terminate', 'exit', 'throw', 'close', 'end', 'nonsense'] as const

export interface KillData {
  readonly port: MessagePort
  readonly seed: number
  /** The number of its first row. */
  readonly base: number
  /** One fate for each row. */
  readonly fates: Int32Array
  readonly tasks: number
}

const UNKNOWN = FATES.indexOf('unknown')
const STORED = FATES.indexOf('stored')
const GONE = FATES.indexOf('gone')

class Undone extends Error {}

class Load {
  readonly #data: KillData
  readonly #manager: Manager
  readonly #random: Random
  #next = 0

  constructor(data: KillData, manager: Manager) {
    this.#data = data
    this.#manager = manager
    this.#random = new Random(data.seed)
  }

  async run(): Promise<void> {
    const { tasks, fates } = this.#data
    const task = async (): Promise<void> => {
      while (this.#next < fates.length) await this.#write(this.#next++)
    }
    await Promise.all(Array.from({ length: tasks }, task))
  }

  /** A row is two lines of the table: half of one would be a transaction that was torn apart. */
  async #write(row: number): Promise<void> {
    const { fates, base } = this.#data
    Atomics.store(fates, row, UNKNOWN)
    try {
      await this.#random.pick([this.#transaction, this.#use, this.#nested, this.#batch, this.#acquire])(
        base + row,
      )
      Atomics.store(fates, row, STORED)
    } catch (error) {
      if (!(error instanceof Undone)) throw error
      Atomics.store(fates, row, GONE)
    }
  }

  readonly #transaction = (row: number): Promise<void> =>
    this.#manager.transaction(async (connection) => {
      await this.#insertBoth(connection, row)
      if (this.#random.chance(0.2)) throw new Undone()
    })

  readonly #nested = (row: number): Promise<void> =>
    this.#manager.transaction(async (outer) => {
      await insert(outer, row, 1)
      await outer.transaction((inner) => insert(inner, row, 2))
    })

  readonly #use = (row: number): Promise<void> =>
    this.#manager.use(async (connection) => {
      await this.#insertBoth(connection, row)
      if (this.#random.chance(0.2)) throw new Undone()
      await connection.commit()
    })

  readonly #acquire = async (row: number): Promise<void> => {
    const connection = await this.#manager.acquire()
    try {
      await this.#insertBoth(connection, row)
      await connection.commit()
    } finally {
      await connection.release()
    }
  }

  readonly #batch = async (row: number): Promise<void> => {
    await this.#manager.batch([1, 2].map((half) => ({ text: INSERT, values: [row, half] })))
  }

  async #insertBoth(connection: Connection, row: number): Promise<void> {
    const first = insert(connection, row, 1)
    if (this.#random.chance(0.5)) await first
    await Promise.all([first, insert(connection, row, 2)])
  }
}

const INSERT = 'INSERT INTO killed (row, half) VALUES ($1, $2)'

async function insert(connection: Connection, row: number, half: number): Promise<void> {
  await connection.query(INSERT, [row, half])
}

function die(how: (typeof ENDS)[number], data: KillData, manager: Manager): void {
  switch (how) {
    case 'exit':
      return process.exit(0)
    case 'throw':
      throw new Error('the worker was told to throw')
    case 'close':
      return data.port.close()
    case 'end':
      return void manager.end({ timeoutMillis: 0 })
    case 'nonsense':
      return data.port.postMessage([['commit', -1]])
    case 'terminate':
      // It is done from outside.
      return
    default:
      return how satisfies never
  }
}

if (workerData !== null && 'fates' in (workerData as object)) {
  const data = workerData as KillData
  const manager = attach(data.port)
  parentPort!.on('message', (how: (typeof ENDS)[number]) => die(how, data, manager))
  // What is under way when it ends is nobody's any more: the table tells.
  new Load(data, manager).run().catch(() => parentPort!.close())
  parentPort!.postMessage('running')
}
