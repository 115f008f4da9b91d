/** Collects one command's rows into pg's result. */
import type { CustomTypesConfig, FieldDef } from 'pg'
import { createResult } from './pg-driver.js'
import { quickParser } from './timestamp.js'
import type { DriverResult } from './pg-driver.js'

export class RowCollector {
  readonly result: DriverResult
  /** What a type parser threw; the rows behind it are not read, as in pg. */
  parseError: Error | null = null

  constructor(rowMode: string | undefined, types: CustomTypesConfig) {
    this.result = createResult(rowMode, types)
  }

  describe(fields: FieldDef[]): void {
    this.result.addFields(fields)
    this.result._parsers = this.result._parsers?.map(quickParser)
  }

  /**
   * Columns that an earlier execution was described with, and the row that pg copies for each new one. The parsers
   * are asked for anew: the user may have set others meanwhile.
   */
  describeAgain(fields: FieldDef[], emptyRow: Record<string, null> | null): void {
    const { result } = this
    const types = result._types
    result.fields = fields.slice()
    result._parsers = fields.map(({ dataTypeID, format }) =>
      quickParser(types.getTypeParser(dataTypeID, format as 'text')),
    )
    result._prebuiltEmptyResultObject = emptyRow
  }

  add(values: (string | null)[]): void {
    // pg would take missing values for nulls.
    if (values.length !== this.result.fields.length) {
      throw new Error('protocol violation: the server sent a row that does not fit its description')
    }
    if (this.parseError !== null) return
    try {
      this.result.rows.push(this.result.parseRow(values))
    } catch (error) {
      this.parseError = error as Error
    }
  }

  complete(tag: string): void {
    this.result.addCommandComplete({ text: tag })
  }
}
