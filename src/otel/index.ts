/**
 * OpenTelemetry's metrics of a connection pool (`db.client.connection.*`).
 *
 * @module pg-managed-connection/otel
 */
export { instrument } from './instrument.js'
export type { Instrumentation, InstrumentOptions, Measurable } from './instrument.js'
