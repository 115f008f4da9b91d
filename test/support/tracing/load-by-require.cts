/** The package and a cursor, as CommonJS loads them. */
import library = require('pg-managed-connection')
import otel = require('pg-managed-connection/otel')
import pool = require('pg-managed-connection/pool')
import worker = require('pg-managed-connection/worker')
import Cursor = require('pg-cursor')

export = { library, otel, pool, worker, Cursor }
