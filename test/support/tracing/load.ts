/** The package and a cursor, as an ES module loads them. */
import * as library from 'pg-managed-connection'
import * as otel from 'pg-managed-connection/otel'
import * as pool from 'pg-managed-connection/pool'
import * as worker from 'pg-managed-connection/worker'
import Cursor from 'pg-cursor'
import type { Loaded } from './scenes.js'

export const loaded: Loaded = { library, otel, pool, worker, Cursor: Cursor as unknown as Loaded['Cursor'] }
