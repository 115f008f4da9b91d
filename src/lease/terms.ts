/** What leases are for, as most are. */
import type { LeaseTerms } from '../api/ports.js'

/** The first statement opens a transaction, as in Python's DB-API. */
export const DB_API: LeaseTerms = {
  autocommit: false,
  begin: 'BEGIN',
  owned: false,
  commitment: null,
  settings: null,
}

/** Each statement commits by itself. */
export const AUTOCOMMIT: LeaseTerms = { ...DB_API, autocommit: true }

/** The library commits. */
export const OWNED: LeaseTerms = { ...DB_API, owned: true }
