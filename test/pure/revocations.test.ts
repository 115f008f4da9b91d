/** Lists of revoked certificates are refused where nobody would look at them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { internal } from '../support/internals.js'

const { requireRevocationChecks } = await internal('revocations')

test('Node and Bun check lists of revoked certificates', () => {
  requireRevocationChecks({ node: '24.21.0' })
  requireRevocationChecks({ node: '24.3.0', bun: '1.4.5' })
})

test('Deno does not, and is not trusted with one', () => {
  assert.throws(
    () => requireRevocationChecks({ node: '24.2.0', deno: '2.9.6' }),
    /sslcrl.*cannot be checked on Deno/,
  )
})
