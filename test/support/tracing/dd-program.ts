/**
 * A program that Datadog's tracer has been loaded into, before everything else, with its plugin for pg:
 * node --import|--require … dd-program.js import|require CONNINFO [provider]
 *
 * With the word `provider` the tracer is OpenTelemetry's provider, too. What it has traced it sends to its agent; how
 * many spans were begun, and how many ended, is reported.
 */
import { subscribe } from 'node:diagnostics_channel'
import { datadog } from './datadog.js'
import { load, perform, readOrder, report } from './program.js'
import type { InSpan } from './scenes.js'

/** Of spans. */
export interface Counts {
  begun: number
  ended: number
}

const counts: Counts = { begun: 0, ended: 0 }
subscribe('dd-trace:span:start', () => counts.begun++)
subscribe('dd-trace:span:finish', () => counts.ended++)

const inSpan: InSpan = (name, work) => tracer.trace('program', { resource: name }, work)

const order = readOrder()
// With --import it does not begin by itself in workers; where it has begun this does nothing.
const tracer = datadog().init()
if (order.words.includes('provider')) new tracer.TracerProvider().register()
const farAway = (await perform(await load(order.system), order, inSpan, import.meta.url)) as Counts | null
report({ begun: counts.begun + (farAway?.begun ?? 0), ended: counts.ended + (farAway?.ended ?? 0) })
