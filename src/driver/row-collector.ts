/** Collects one command's rows into pg's result. */
import type { CustomTypesConfig, FieldDef } from 'pg'
import { createResult } from './pg-driver.js'
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
  }

  add(values: (string | null)[]): void {
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
