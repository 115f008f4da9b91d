/** Collects one command's rows into pg's result. */
import { createResult } from '../pg/driver.js'
import { quickParser } from './timestamp.js'
import type { CustomTypesConfig, FieldDef } from 'pg'
import type { DriverResult } from '../pg/driver.js'
import type { Failure } from '../util/failure.js'

export class RowCollector {
  readonly result: DriverResult
  /** What a type parser threw, or what looks parsers up: its caller's error. The rows behind it are not read, as in pg. */
  parseFailure: Failure | null = null

  constructor(rowMode: string | undefined, types: CustomTypesConfig) {
    this.result = createResult(rowMode, types)
  }

  describe(fields: FieldDef[]): void {
    try {
      this.result.addFields(fields)
      this.result._parsers = this.result._parsers?.map(quickParser)
    } catch (error) {
      this.refuseRow(error)
    }
  }

  /**
   * Columns that an earlier execution was described with, and the row that pg copies for each new one. The parsers
   * are asked for anew: the user may have set others meanwhile.
   */
  describeAgain(fields: FieldDef[], emptyRow: Record<string, null> | null): void {
    const { result } = this
    const types = result._types
    const parsers: ((value: string) => unknown)[] = []
    result.fields = []
    result._parsers = parsers
    result._prebuiltEmptyResultObject = emptyRow
    try {
      for (const field of fields) {
        result.fields.push(copyField(field))
        parsers.push(quickParser(types.getTypeParser(field.dataTypeID, field.format as 'text')))
      }
    } catch (error) {
      this.refuseRow(error)
    }
  }

  add(values: (string | null)[]): void {
    if (this.parseFailure !== null) return
    // pg would take missing values for nulls.
    if (values.length !== this.result.fields.length)
      throw new Error('protocol violation: the server sent a row that does not fit its description')
    try {
      this.result.rows.push(this.result.parseRow(values))
    } catch (error) {
      this.refuseRow(error)
    }
  }

  /** A row was left out. */
  refuseRow(error: unknown): true {
    this.parseFailure ??= { reason: error }
    return true
  }

  /** The command ran to its end; null where it was empty. */
  complete(tag: string | null): void {
    if (tag !== null) this.result.addCommandComplete({ text: tag })
  }
}

/** pg's own class of column descriptions. */
type FieldClass = new (
  ...of: [string, tableID: number, columnID: number, type: number, size: number, modifier: number, string]
) => FieldDef

/** A column's description for one result: what its owner changes in it, nobody else sees. */
export function copyField(field: FieldDef): FieldDef {
  const Field = field.constructor as FieldClass
  const { name, tableID, columnID, dataTypeID, dataTypeSize, dataTypeModifier, format } = field
  return new Field(name, tableID, columnID, dataTypeID, dataTypeSize, dataTypeModifier, format)
}
