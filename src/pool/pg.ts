/** What the pool face uses of pg itself: the class that libraries ask for. */
export { PgPool as PoolOfPg } from '../pg/driver.js'
