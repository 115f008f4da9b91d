/**
 * Parses results for a worker, as the owner's session would; what may not be copied to another thread as it is keeps
 * its text, so that the worker can parse it instead.
 */
import type { CustomTypesConfig } from 'pg'
import { parseBytea } from '../pg.js'
import { isSimple } from '../cloneable.js'

type Parse = (text: string | Buffer) => unknown

/** A cell whose value has to be looked at before it is sent. */
export class KeptCell {
  readonly value: unknown
  readonly text: string | Buffer
  readonly dataTypeID: number
  readonly format: string

  constructor(value: unknown, text: string | Buffer, dataTypeID: number, format: string) {
    this.value = value
    this.text = text
    this.dataTypeID = dataTypeID
    this.format = format
  }
}

/** Parsers that keep the texts of such cells. */
export class TravellingTypes {
  readonly #types: () => CustomTypesConfig
  /** By type and format: the owner's parser, and ours around it. */
  readonly #known = new Map<string, { readonly parse: Parse; readonly keeping: Parse }>()

  /** `types` gives the owner's parsers, which may change. */
  constructor(types: () => CustomTypesConfig) {
    this.#types = types
  }

  readonly getTypeParser = (dataTypeID: number, format = 'text'): Parse => {
    const parse = this.#types().getTypeParser(dataTypeID, format as 'text') as Parse
    const key = `${dataTypeID} ${format}`
    const known = this.#known.get(key)
    if (known?.parse === parse) return known.keeping
    const keeping: Parse = (text) => {
      const value = parse(text)
      // Bytes that pg has made are nobody else's; what a parser of the user's gives may be.
      const ours = isSimple(value) || (parse === parseBytea && value instanceof Buffer)
      return ours ? value : new KeptCell(value, text, dataTypeID, format)
    }
    this.#known.set(key, { parse, keeping })
    return keeping
  }
}

/** Keeps every text: the worker parses. */
export const KEPT: CustomTypesConfig = {
  getTypeParser: ((dataTypeID: number, format = 'text') =>
    (text: string | Buffer) =>
      new KeptCell(undefined, text, dataTypeID, format)) as CustomTypesConfig['getTypeParser'],
}

/** Leaves every text as it is: the worker parses, and knows the types from the columns' description. */
export const UNPARSED: CustomTypesConfig = {
  getTypeParser: (() => (text: unknown) => text) as CustomTypesConfig['getTypeParser'],
}
