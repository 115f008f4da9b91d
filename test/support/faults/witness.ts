/**
 * Writes down what a manager says to the server and what it hears, at the socket and before encryption. What a caller
 * is told about its COMMIT is compared with this, not with the library's own word.
 */
import type { Duplex } from 'node:stream'
import type pg from 'pg'
import { BackendParser, FrontendParser, type WireMessage } from '../wire.js'

/** What went out up to a Sync, or as a simple Query, and what came back for it. */
export interface WitnessedUnit {
  /** The texts of its statements; empty for one that is known to the server by its name. */
  readonly texts: string[]
  /** The tags of the commands that the server has completed. */
  readonly tags: string[]
  /** ReadyForQuery has come. */
  answered: boolean
}

/** One server connection, from the moment at which it was handed to `onConnect`. */
class WitnessedSession {
  readonly units: WitnessedUnit[] = []
  readonly #sent = new FrontendParser('messages')
  readonly #received = new BackendParser()
  #current: string[] = []

  constructor(stream: Duplex) {
    const write = stream.write.bind(stream) as (...given: unknown[]) => boolean
    stream.write = (...given: unknown[]) => {
      for (const message of this.#sent.push(given[0] as Buffer)) this.#onSent(message)
      return write(...given)
    }
    stream.on('data', (chunk: Buffer) => {
      for (const message of this.#received.push(chunk)) this.#onReceived(message)
    })
  }

  #onSent({ name, about }: WireMessage): void {
    if (name === 'Parse' || name === 'Query') this.#current.push(about)
    if (name !== 'Sync' && name !== 'Query') return
    this.units.push({ texts: this.#current, tags: [], answered: false })
    this.#current = []
  }

  #onReceived({ name, about }: WireMessage): void {
    const unit = this.units.find(({ answered }) => !answered)
    if (unit === undefined) return
    if (name === 'CommandComplete') unit.tags.push(about)
    if (name === 'ReadyForQuery') unit.answered = true
  }
}

/** All server connections of one manager. */
export class Witness {
  readonly sessions: WitnessedSession[] = []
  /** When the manager had its first connection, on `performance.now()`'s clock. */
  connectedAt = Infinity

  /** For the option `onConnect`. */
  readonly watch = (client: pg.Client): Promise<void> => {
    const { connection } = client as unknown as { connection: { stream: Duplex } }
    this.sessions.push(new WitnessedSession(connection.stream))
    return Promise.resolve()
  }

  /**
   * What was sent for the one whose statements carry `marker`, connection by connection: those statements, and the
   * transaction control around them, whose texts carry no marker.
   */
  unitsOf(marker: string, anyMarker: RegExp): WitnessedUnit[][] {
    return this.sessions
      .map(({ units }) => {
        const begin = units.findIndex(({ texts }) => texts.some((text) => text.includes(marker)))
        if (begin < 0) return []
        const strange = ({ texts }: WitnessedUnit): boolean =>
          texts.some((text) => anyMarker.test(text) && !text.includes(marker))
        const end = units.findIndex((unit, index) => index > begin && strange(unit))
        return units.slice(begin, end < 0 ? undefined : end)
      })
      .filter((units) => units.length > 0)
  }
}
