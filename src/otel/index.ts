/**
 * OpenTelemetry's metrics of a connection pool (`db.client.connection.*`).
 *
 * @module pg-managed-connection/otel
 */
export { instrument, type Instrumentation, type InstrumentOptions, type Measurable } from './instrument.js'
