/**
 * One connection for many threads: the thread that owns the manager gives ports away, workers make managers of them.
 *
 * @module pg-managed-connection/worker
 */
export { attach } from './attach.js'
export type { AttachOptions } from './attach.js'
export { share } from './share.js'
