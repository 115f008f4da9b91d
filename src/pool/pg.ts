/** What the pool face uses of pg itself: the class that libraries ask for. */
import pg from 'pg'

/** pg's pool; its methods lie on this prototype and on the one behind it. */
export const PoolOfPg: { readonly prototype: object } = pg.Pool
