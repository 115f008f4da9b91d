/**
 * A model of one PostgreSQL session, as far as the library's messages reach: the extended and the simple protocol,
 * transaction blocks, savepoints, implicit transactions, prepared statements, one table, one deferred constraint,
 * receipts, and two transaction-local settings. It decides nothing: the same messages are always answered alike, and
 * `model-fidelity.test.ts` compares the answers with those of the real server.
 */
import { backend } from '../backend-messages.js'
import type { WireMessage } from '../wire.js'
import type { ModelDatabase } from './model-database.js'
import { selectOf, type Column } from './model-selects.js'

/** What happens in a transaction, told to whoever checks. */
export interface SessionWatch {
  /** A row was inserted, in the transaction whose first row was `first`. */
  onInsert(session: ModelSession, row: number, first: number): void
}

class SqlError extends Error {
  readonly code: string

  constructor(code: string, text: string) {
    super(text)
    this.code = code
  }
}

interface Answer {
  readonly tag: string
  readonly row?: readonly (string | null)[]
}

interface Savepoint {
  readonly name: string
  readonly rows: number
  readonly receipts: number
  readonly mark: string
  readonly waitsForDisk: boolean
  readonly violated: boolean
}

type Block = 'none' | 'open' | 'failed'

const EXIT = /^(COMMIT|ROLLBACK)/

export class ModelSession {
  readonly processID: number
  /** What may be delivered: answers up to the last Flush or Sync. */
  readonly output: Buffer[] = []
  /** Terminate was read, or the session was killed. */
  over = false
  readonly database: ModelDatabase
  readonly #watch: SessionWatch | null
  #unflushed: Buffer[] = []
  #block: Block = 'none'
  /** Rows of the transaction that is open. */
  #rows: number[] = []
  #receipts: string[] = []
  /** The transaction's id, once it has written. */
  transactionID: number | null = null
  /** A setting of the transaction's. */
  mark = ''
  /** Its COMMIT does. */
  #waitsForDisk = true
  /** The deferred constraint is violated. */
  #violated = false
  #savepoints: Savepoint[] = []
  readonly #prepared = new Map<string, string>()
  #portal: { readonly text: string; readonly values: readonly string[] } | null = null
  /** After an error everything up to Sync is read and thrown away. */
  #skipping = false
  /** A statement has been executed since the last Sync: the next is in a transaction block of a kind. */
  #pipelining = false
  /** For each BEGIN, how many messages had been put out with its answer. */
  readonly begunAt: number[] = []
  /** The same for each COMMIT and ROLLBACK. */
  readonly endedAt: number[] = []
  #count = 0

  constructor(database: ModelDatabase, watch: SessionWatch | null = null) {
    this.database = database
    this.#watch = watch
    this.processID = database.giveProcess()
    database.sessions.add(this)
  }

  /** The letter of ReadyForQuery. */
  get letter(): 'I' | 'T' | 'E' {
    return this.#block === 'none' ? 'I' : this.#block === 'open' ? 'T' : 'E'
  }

  /** Ends at once: what is open is rolled back. */
  kill(): void {
    this.over = true
    this.#rollBack()
    this.database.sessions.delete(this)
  }

  /** It has written a receipt of this id, and its transaction is open. */
  hasReceipt(id: string): boolean {
    return this.#receipts.includes(id)
  }

  /** The transaction has something to commit. */
  write(): void {
    this.transactionID ??= this.database.giveID()
  }

  readonly fail = (code: string, text: string): never => {
    throw new SqlError(code, text)
  }

  /** Reads one message. */
  receive({ name, payload }: WireMessage): void {
    if (this.over) return
    if (name === 'Sync') return this.#sync()
    if (this.#skipping && name !== 'Query') return
    try {
      this.#handle(name, payload)
    } catch (error) {
      this.#fail(error as Error)
      this.#skipping = name !== 'Query'
      if (name === 'Query') this.#ready()
    }
  }

  #handle(name: string, payload: Buffer): void {
    switch (name) {
      case 'Startup':
        return this.#start()
      case 'Parse':
        return this.#parse(payload)
      case 'Bind':
        return this.#bind(payload)
      case 'Describe':
        return this.#describe()
      case 'Execute':
        return this.#execute()
      case 'Close':
        this.#prepared.delete(payload.toString('utf8', 1, payload.length - 1))
        return this.#put(backend.closeComplete)
      case 'Query':
        return this.#query(payload.toString('utf8', 0, payload.length - 1))
      case 'Flush':
        return this.#flush()
      case 'Terminate':
        return this.kill()
      default:
        throw new Error(`the model does not know ${name}`)
    }
  }

  #start(): void {
    this.#put(backend.authenticationOk)
    this.#put(backend.parameterStatus('server_version', '18.0'))
    this.#put(backend.backendKeyData(this.processID, 1))
    this.#ready()
  }

  #parse(payload: Buffer): void {
    const [name = '', text = ''] = payload.toString('utf8').split('\0')
    if (/;\s*\S/.test(text))
      throw new SqlError('42601', 'cannot insert multiple commands into a prepared statement')
    if (text !== '') this.#refuseInFailed(text)
    if (name !== '' && this.#prepared.has(name)) throw new SqlError('42P05', 'it exists already')
    this.#prepared.set(name, text)
    this.#put(backend.parseComplete)
  }

  #bind(payload: Buffer): void {
    const { name, values } = readBind(payload)
    const text = this.#prepared.get(name)
    if (text === undefined) throw new SqlError('26000', `prepared statement "${name}" does not exist`)
    if (values.length !== new Set(text.match(/\$\d/g)).size)
      throw new SqlError('08P01', 'wrong number of parameters')
    this.#refuseInFailed(text)
    // Planning folds constants, and fails there.
    if (text.startsWith('SELECT 1/0')) throw new SqlError('22012', 'division by zero')
    this.#portal = { text, values }
    this.#put(backend.bindComplete)
  }

  #describe(): void {
    const columns = columnsOf(this.#portal?.text ?? '')
    this.#put(columns === null ? backend.noData : backend.rowDescription(columns))
  }

  #execute(): void {
    const { text, values } = this.#portal!
    if (text === '') return this.#put(backend.emptyQuery)
    try {
      this.#tell(this.#run(text, values))
      this.#pipelining = !EXIT.test(text)
      if (text.startsWith('BEGIN')) this.begunAt.push(this.#count)
    } finally {
      this.#noteEnd(text)
    }
  }

  #tell({ tag, row }: Answer): void {
    if (row !== undefined) this.#put(backend.dataRow(row))
    this.#put(backend.commandComplete(tag))
  }

  /** A COMMIT that fails is answered with an error, which is yet to come, or has ended the transaction all the same. */
  #noteEnd(text: string): void {
    if (text === 'COMMIT' || text === 'ROLLBACK') this.endedAt.push(this.#count)
  }

  #query(text: string): void {
    try {
      this.#queryAll(text)
    } finally {
      this.#noteEnd(text)
    }
  }

  #queryAll(text: string): void {
    const statements = text.split(';').map((one) => one.trim())
    const meant = statements.filter((one) => one !== '')
    if (meant.length === 0) this.#put(backend.emptyQuery)
    for (const [index, statement] of meant.entries()) {
      const answer = this.#run(statement, [])
      const columns = columnsOf(statement)
      if (columns !== null) this.#put(backend.rowDescription(columns))
      if (answer.row !== undefined) this.#put(backend.dataRow(answer.row))
      // The last one's transaction ends before its command is reported complete.
      if (index === meant.length - 1 && this.#block === 'none') this.#commit()
      this.#put(backend.commandComplete(answer.tag))
    }
    this.#ready()
  }

  #run(sent: string, values: readonly string[]): Answer {
    const text = sent.trim()
    this.#refuseInFailed(text)
    const [verb = ''] = text.split(/\s/)
    switch (verb) {
      case 'BEGIN':
        return this.#begin()
      case 'COMMIT':
        return this.#end('COMMIT')
      case 'ROLLBACK':
        return text.includes(' TO ') ? this.#rollBackTo(text) : this.#end('ROLLBACK')
      case 'SAVEPOINT':
        return this.#save(lastWord(text))
      case 'RELEASE':
        return this.#release(lastWord(text))
      case 'DEALLOCATE':
        for (const name of this.#prepared.keys()) if (name !== '') this.#prepared.delete(name)
        return { tag: 'DEALLOCATE ALL' }
      case 'INSERT':
        return this.#insert(text, values)
      case 'SELECT':
        return this.#select(text, values)
      case 'SET':
        return this.#setLocal(text)
      default:
        throw new SqlError('42601', `syntax error at or near "${verb}"`)
    }
  }

  #refuseInFailed(text: string): void {
    if (this.#block === 'failed' && !EXIT.test(text))
      throw new SqlError(
        '25P02',
        'current transaction is aborted, commands ignored until end of transaction block',
      )
  }

  #begin(): Answer {
    if (this.#block === 'failed') throw new SqlError('25P02', 'current transaction is aborted')
    if (this.#block === 'open')
      this.#put(backend.notice('25001', 'there is already a transaction in progress'))
    this.#block = 'open'
    return { tag: 'BEGIN' }
  }

  #end(tag: 'COMMIT' | 'ROLLBACK'): Answer {
    if (this.#block === 'none') this.#put(backend.notice('25P01', 'there is no transaction in progress'))
    const failed = this.#block === 'failed'
    this.#block = 'none'
    if (tag === 'ROLLBACK' || failed) {
      this.#rollBack()
      return { tag: 'ROLLBACK' }
    }
    this.#commit()
    return { tag }
  }

  /** Makes the open rows last; fails where the deferred constraint does. */
  #commit(): void {
    const violated = this.#violated
    const { transactionID: id } = this
    if (!violated && id !== null) {
      this.database.commit({ id, rows: this.#rows, receipts: this.#receipts }, this.#waitsForDisk)
    }
    this.#rollBack()
    if (violated) throw new SqlError('23505', 'duplicate key value violates unique constraint')
  }

  #rollBack(): void {
    this.#rows = []
    this.#receipts = []
    this.transactionID = null
    this.mark = ''
    this.#waitsForDisk = true
    this.#violated = false
    this.#savepoints = []
    this.#block = 'none'
  }

  #save(name: string): Answer {
    if (this.#block === 'none')
      throw new SqlError('25P01', 'SAVEPOINT can only be used in transaction blocks')
    this.#savepoints.push({
      name,
      rows: this.#rows.length,
      receipts: this.#receipts.length,
      mark: this.mark,
      waitsForDisk: this.#waitsForDisk,
      violated: this.#violated,
    })
    return { tag: 'SAVEPOINT' }
  }

  #find(name: string, command: string): number {
    if (this.#block === 'none')
      throw new SqlError('25P01', `${command} can only be used in transaction blocks`)
    const index = this.#savepoints.findLastIndex((one) => one.name === name)
    if (index < 0) throw new SqlError('3B001', `savepoint "${name}" does not exist`)
    return index
  }

  #release(name: string): Answer {
    this.#savepoints.length = this.#find(name, 'RELEASE SAVEPOINT')
    return { tag: 'RELEASE' }
  }

  #rollBackTo(text: string): Answer {
    const index = this.#find(lastWord(text), 'ROLLBACK TO SAVEPOINT')
    const { rows, receipts, mark, waitsForDisk, violated } = this.#savepoints[index]!
    this.#savepoints.length = index + 1
    this.#rows.length = rows
    this.#receipts.length = receipts
    this.mark = mark
    this.#waitsForDisk = waitsForDisk
    this.#violated = violated
    this.#block = 'open'
    return { tag: 'ROLLBACK' }
  }

  #insert(text: string, values: readonly string[]): Answer {
    this.write()
    if (text.includes('failing')) this.#violated = true
    else if (text.includes('receipts')) this.#leaveReceipt(values[0]!)
    else {
      const row = Number(values[0] ?? /\((\d+)\)/.exec(text)?.[1])
      this.#rows.push(row)
      this.#watch?.onInsert(this, row, this.#rows[0]!)
    }
    return { tag: 'INSERT 0 1' }
  }

  /** One that another has open is waited for as long as `lock_timeout` allows, in which nothing can happen here. */
  #leaveReceipt(id: string): void {
    const holder = this.database.receiptOf(id)
    if (holder === 'committed' || holder === this) this.fail('23505', 'duplicate key value')
    if (holder !== 'none') this.fail('55P03', 'canceling statement due to lock timeout')
    this.#receipts.push(id)
  }

  /** Outside a block it holds until the end of the statement's own transaction. */
  #setLocal(text: string): Answer {
    if (this.#block === 'none' && !this.#pipelining)
      this.#put(backend.notice('25P01', 'SET LOCAL can only be used in transaction blocks'))
    if (text.includes('synchronous_commit')) this.#waitsForDisk = !text.endsWith('off')
    return { tag: 'SET' }
  }

  #select(text: string, values: readonly string[]): Answer {
    if (text.startsWith('SELECT 1/0')) throw new SqlError('22012', 'division by zero')
    const select = selectOf(text)
    if (select === undefined) throw new Error(`the model does not know ${text}`)
    const row = select.answer(this, values, text)
    return row === null ? { tag: 'SELECT 0' } : { tag: 'SELECT 1', row }
  }

  #fail(error: Error): void {
    if (!(error instanceof SqlError)) throw error
    if (this.#block === 'none') this.#rollBack()
    else this.#block = 'failed'
    this.#put(backend.error(error.code, error.message))
  }

  #sync(): void {
    this.#skipping = false
    this.#pipelining = false
    try {
      if (this.#block === 'none') this.#commit()
    } catch (error) {
      this.#fail(error as Error)
    }
    this.#ready()
  }

  #ready(): void {
    this.#put(backend.readyForQuery(this.letter))
    this.#flush()
  }

  #put(bytes: Buffer): void {
    this.#count++
    this.#unflushed.push(bytes)
  }

  #flush(): void {
    this.output.push(...this.#unflushed)
    this.#unflushed = []
  }
}

/** The statement and the values of a Bind. Values come as text: what the programs send is never anything else. */
export function readBind(payload: Buffer): { name: string; values: string[] } {
  const nameAt = payload.indexOf(0) + 1
  const nameEnd = payload.indexOf(0, nameAt)
  let at = nameEnd + 1
  at += 2 + 2 * payload.readInt16BE(at)
  const values = Array.from({ length: payload.readInt16BE(at) }, () => '')
  at += 2
  for (const index of values.keys()) {
    const length = payload.readInt32BE(at)
    values[index] = payload.toString('utf8', at + 4, at + 4 + length)
    at += 4 + length
  }
  return { name: payload.toString('utf8', nameAt, nameEnd), values }
}

function columnsOf(text: string): readonly Column[] | null {
  return selectOf(text.trim())?.columns ?? null
}

function lastWord(text: string): string {
  return text.split(' ').at(-1)!
}
