/** For which hosts a certificate is good: the table of libpq's rules. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { after } from 'node:test'
import { Authority } from '../support/conninfo/certificates.js'
import { internal } from '../support/internals.js'
import { leakTest } from '../support/suite.js'

const test = leakTest()
const { faultOfName } = await internal('certificateNames')
const authority = await Authority.create('names')
after(() => authority[Symbol.asyncDispose]())

interface Names {
  readonly common: string
  /** Alternative names, as OpenSSL's configuration has them. */
  readonly others?: string
  readonly goodFor: readonly string[]
  readonly badFor: readonly string[]
}

const TABLE: Readonly<Record<string, Names>> = {
  'names and an address': {
    common: 'common.test',
    others: 'DNS:db.test, DNS:*.wild.test, IP:192.0.2.1',
    goodFor: ['db.test', 'DB.Test', 'a.wild.test', 'A.WILD.TEST', '192.0.2.1'],
    badFor: ['common.test', 'wild.test', 'a.b.wild.test', '.wild.test', 'xdb.test', '192.0.2.2'],
  },
  'a wildcard above one label': {
    common: '*.test',
    goodFor: ['db.test'],
    badFor: ['a.db.test', 'test', '.test'],
  },
  'wildcards elsewhere, and stars alone': {
    common: 'common',
    others: 'DNS:d*.test, DNS:a.*.test, DNS:*',
    goodFor: [],
    badFor: ['db.test', 'a.b.test', 'localhost', 'common'],
  },
  'a common name alone': { common: 'db.test', goodFor: ['db.test'], badFor: ['a.db.test', '192.0.2.1'] },
  'an address as the common name': { common: '192.0.2.1', goodFor: ['192.0.2.1'], badFor: ['192.0.2.2'] },
  'an address among the names of hosts': {
    common: 'common',
    others: 'DNS:192.0.2.1',
    goodFor: ['192.0.2.1'],
    badFor: ['192.0.2.2'],
  },
  'a common name beside addresses only': {
    common: 'db.test',
    others: 'IP:192.0.2.1',
    goodFor: ['db.test', '192.0.2.1'],
    badFor: ['other.test'],
  },
  'an address in the common name beside another': {
    common: '192.0.2.2',
    others: 'IP:192.0.2.1',
    goodFor: ['192.0.2.1'],
    badFor: ['192.0.2.2'],
  },
  'an address of version 6': {
    common: 'c',
    others: 'IP:2001:db8::1',
    goodFor: ['2001:db8::1'],
    badFor: ['::1'],
  },
  'one name that pretends to be two': {
    common: 'c',
    others: '@alt\n[alt]\nDNS.1=evil.test\\, DNS:db.test',
    goodFor: [],
    badFor: ['db.test', 'evil.test'],
  },
}

for (const [title, { common, others, goodFor, badFor }] of Object.entries(TABLE)) {
  test(`certificate with ${title}`, async () => {
    const { certificate } = await (await authority.sign(common, others)).read()
    const parsed = new X509Certificate(certificate)
    for (const host of goodFor) assert.equal(faultOfName(parsed, host), null, host)
    for (const host of badFor) assert.match(faultOfName(parsed, host)!, /does not match host name/, host)
  })
}

test('a certificate for others says for whom it is', async () => {
  const { certificate } = await (await authority.sign('c', 'DNS:a.test, IP:192.0.2.1, DNS:b.test')).read()
  assert.equal(
    faultOfName(new X509Certificate(certificate), 'db.test'),
    'server certificate for "a.test" (and 2 other names) does not match host name "db.test"',
  )
})
