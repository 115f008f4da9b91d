/**
 * Not compiled: it stays beside the folder into which the peers are installed, so that their names resolve here
 * as they do in an application (the project's own install does not have them).
 */
export const importPeer = (name) => import(name)
