import type { RollbackEvent } from '../events.js'
import type { SandboxLease } from './lease.js'

/** What a turn in a sandbox needs of the broker that granted it, as a lease does of its own. */
export interface SandboxOwner {
  readonly options: { readonly releaseGraceMillis: number; readonly closeOn: 'never' }
  readonly life: { readonly replacementDue: false; close(): Promise<void> }
  passOn(lease: SandboxLease): void
  onRollback(event: RollbackEvent): void
}
