/** A database of its own for each test file. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { toConninfo, type Login } from './address.js'
import { Admin } from './admin.js'
import { maintenanceDatabase, serverOfEnvironment, TEMPLATE_VARIABLE } from './environment.js'

/** A database that exists until `drop()`. */
export interface TestDatabase extends AsyncDisposable {
  readonly name: string
  /** The server it is on. */
  readonly login: Login
  /** A URI that leads to it, user included. */
  readonly conninfo: string
  /** A connection beside what is tested, to look and to do harm. */
  readonly admin: Admin
  /** Ends whoever is still connected and removes the database. */
  drop(): Promise<void>
}

/** Where to make a database and from what. */
export interface DatabaseOptions {
  /** Default: the server of the environment, which the test entry has set. */
  readonly login?: Login
  /** Default: the template of the test entry, or template0. */
  readonly template?: string
}

/** Makes a database that nobody else uses, so that test files may run side by side. */
export async function createDatabase({
  login = serverOfEnvironment(),
  template = process.env[TEMPLATE_VARIABLE] || 'template0',
}: DatabaseOptions = {}): Promise<TestDatabase> {
  const name = `test_${process.pid}_${randomBytes(4).toString('hex')}`
  await createFrom(login, name, template)
  const admin = new Admin(login, name)
  const drop = async (): Promise<void> => {
    await admin.end()
    await dropDatabase(login, name)
  }
  return { name, login, conninfo: toConninfo(login, name), admin, drop, [Symbol.asyncDispose]: drop }
}

/** Makes the database from which those of the test files are copied, and returns its name. */
export async function createTemplate(login: Login): Promise<string> {
  const name = `test_template_${process.pid}_${randomBytes(4).toString('hex')}`
  // template0, so that nothing that the server's owner has put into template1 changes what the tests see. A
  // database that takes no connections can always be copied.
  await onServer(login, `CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8' ALLOW_CONNECTIONS false`)
  return name
}

/** Removes a database with whoever uses it. */
export async function dropDatabase(login: Login, name: string): Promise<void> {
  await onServer(login, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
}

const COPY_ATTEMPTS = 20
const COPY_PAUSE_MILLIS = 250
/** "source database is being accessed by other users" */
const OBJECT_IN_USE = '55006'

async function createFrom(login: Login, name: string, template: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await onServer(login, `CREATE DATABASE ${name} TEMPLATE ${template}`)
      return
    } catch (error) {
      const busy = error instanceof pg.DatabaseError && error.code === OBJECT_IN_USE
      if (!busy || attempt === COPY_ATTEMPTS) throw error
      await sleep(COPY_PAUSE_MILLIS)
    }
  }
}

async function onServer(login: Login, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: toConninfo(login, maintenanceDatabase()) })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
