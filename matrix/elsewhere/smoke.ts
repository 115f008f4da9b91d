/**
 * The verbs of README.md and what must hold below them, as a program of its own: what runs it is not to matter. It says
 * what became of each step, a line of JSON each, and fails where one has failed.
 */
import type { TestRecord } from '../../test/support/record-reporter.js'
import { commitSteps } from './steps/commits.js'
import { secureSteps } from './steps/secure.js'
import { sessionSteps } from './steps/session.js'
import type { Steps } from './steps/ground.js'

const STEP_MILLIS = 20_000

async function runStep(name: string, step: () => Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${STEP_MILLIS} ms`)), STEP_MILLIS)
  })
  try {
    await Promise.race([step(), late])
    tell({ name, outcome: 'passed' })
    return true
  } catch (error) {
    console.error(name, error)
    tell({ name: `smoke: ${name}`, outcome: 'failed' })
    return false
  } finally {
    clearTimeout(timer)
  }
}

function tell(record: TestRecord): void {
  console.log(JSON.stringify(record))
}

const steps: Steps = { ...commitSteps, ...sessionSteps, ...secureSteps }
let failed = 0
for (const [name, step] of Object.entries(steps)) if (!(await runStep(name, step))) failed++
// What is still open after a step has failed is not waited for.
if (failed > 0) process.exit(1)
