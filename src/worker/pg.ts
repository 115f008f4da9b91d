/**
 * What both sides of a port use of pg itself, in one place: the class of the server's errors, and the type parsers of a
 * thread.
 */
import pg from 'pg'
import type { CustomTypesConfig } from 'pg'

export const DatabaseError = pg.DatabaseError

/** pg's parsers of this thread, custom ones of `pg.types.setTypeParser` included. */
export const parsersOfThread: CustomTypesConfig = pg.types

/** pg's own parser of bytes, unless the program had set another when this was loaded. */
export const parseBytea: unknown = pg.types.getTypeParser(pg.types.builtins.BYTEA)
