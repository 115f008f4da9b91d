/** The class under test: the package's, or what the face of this run has put in its place. */
import * as library from 'pg-managed-connection'
import { currentFace } from './face.js'

export type ManagedConnection = library.ManagedConnection

/** Of the face that was current when this module was first imported. */
export const ManagedConnection = currentFace()?.ManagedConnection ?? library.ManagedConnection
