/** Datadog's tracer, which is installed beside this file's source: `make test` does that. */
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { pathOf } from '../root.js'
import type { ModuleSystem } from './program.js'

/** As much of it as is used. */
export interface Datadog {
  init(): Datadog
  trace<T>(name: string, options: { resource: string }, work: () => Promise<T>): Promise<T>
  readonly TracerProvider: new () => { register(): void }
}

const HERE = pathOf('test/support/tracing/datadog/')
const require = createRequire(HERE)

/** The one that this process was started with. */
export function datadog(): Datadog {
  return require('dd-trace') as Datadog
}

/** What node is started with so that the tracer is there first. */
export function flagsFor(system: ModuleSystem): readonly string[] {
  const file = system === 'import' ? 'initialize.mjs' : 'init.js'
  try {
    const path = require.resolve(`dd-trace/${file}`)
    return system === 'import' ? ['--import', pathToFileURL(path).href] : ['--require', path]
  } catch (cause) {
    throw new Error(`dd-trace is not installed: run make test, or npm ci --omit=optional in ${HERE}`, {
      cause,
    })
  }
}

/** Settings of a tracer that sends what it has traced to this agent, at once, and nothing else to anybody. */
export function settingsFor(agent: string): Readonly<Record<string, string>> {
  return {
    DD_TRACE_AGENT_URL: agent,
    DD_TRACE_FLUSH_INTERVAL: '0',
    DD_TRACE_STARTUP_LOGS: 'false',
    DD_INSTRUMENTATION_TELEMETRY_ENABLED: 'false',
    DD_REMOTE_CONFIGURATION_ENABLED: 'false',
    DD_CRASHTRACKING_ENABLED: 'false',
  }
}
