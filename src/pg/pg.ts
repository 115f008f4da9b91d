/** The only place that imports pg for more than its types. */
import pg from 'pg'

export { pg }
