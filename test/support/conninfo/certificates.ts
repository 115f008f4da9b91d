/** Certificates made on the spot with the `openssl` command. */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A certificate and its key, as files and as text. */
export interface Identity {
  readonly certificate: string
  readonly key: string
  read(): Promise<{ certificate: string; key: string }>
}

/** An authority that signs certificates, in a temporary folder that goes with it. */
export class Authority implements AsyncDisposable {
  readonly folder: string
  #serial = 0x1000

  private constructor(folder: string) {
    this.folder = folder
  }

  /** Makes an authority with a certificate that it has signed itself. */
  static async create(name: string): Promise<Authority> {
    const authority = new Authority(await mkdtemp(join(tmpdir(), 'certificates-')))
    const out = ['-keyout', authority.#path('ca.key'), '-out', authority.certificate]
    const extensions = ['-addext', 'keyUsage=critical,keyCertSign,cRLSign']
    await authority.#openssl([
      'req',
      '-x509',
      ...NEW_KEY,
      '-subj',
      `/CN=${name}`,
      '-days',
      '2',
      ...out,
      ...extensions,
    ])
    return authority
  }

  /** The file of the authority's own certificate. */
  get certificate(): string {
    return this.#path('ca.crt')
  }

  /** Signs a certificate for a common name and, if given, for alternative names such as `DNS:db.test`. */
  async sign(commonName: string, alternativeNames = ''): Promise<Identity> {
    const serial = this.#serial++
    const [key, request, certificate] = ['key', 'csr', 'crt'].map((end) =>
      this.#path(`${serial}.${end}`),
    ) as [string, string, string]
    const extensions = this.#path(`${serial}.ext`)
    await writeFile(extensions, alternativeNames === '' ? '' : `subjectAltName=${alternativeNames}\n`)
    await this.#openssl([
      'req',
      '-new',
      ...NEW_KEY,
      '-subj',
      `/CN=${commonName}`,
      '-keyout',
      key,
      '-out',
      request,
    ])
    const signer = ['-CA', this.certificate, '-CAkey', this.#path('ca.key'), '-set_serial', String(serial)]
    await this.#openssl([
      'x509',
      '-req',
      '-in',
      request,
      ...signer,
      '-days',
      '2',
      '-extfile',
      extensions,
      '-out',
      certificate,
    ])
    const read = async () => ({
      certificate: await readFile(certificate, 'utf8'),
      key: await readFile(key, 'utf8'),
    })
    return { certificate, key, read }
  }

  /** The same key behind a password, in a file of its own. */
  async lockKey({ key }: Identity, password: string): Promise<string> {
    const locked = `${key}.locked`
    await this.#openssl(['pkcs8', '-topk8', '-in', key, '-out', locked, '-passout', `pass:${password}`])
    return locked
  }

  /** A list that revokes the certificates given; the file's name. */
  async revoke(...identities: readonly Identity[]): Promise<string> {
    const list = this.#path(`${identities.length}.crl`)
    const index = this.#path(`${identities.length}.index`)
    const lines = identities.map(({ certificate }) => {
      const serial = Number(/(\d+)\.crt$/.exec(certificate)![1])
        .toString(16)
        .toUpperCase()
      return `R\t491231235959Z\t200101000000Z\t${serial}\tunknown\t/CN=revoked\n`
    })
    await writeFile(index, lines.join(''))
    const config = `${index}.cnf`
    await writeFile(
      config,
      `[ca]\ndefault_ca=a\n[a]\ndatabase=${index}\ndefault_md=sha256\ndefault_crl_days=2\n`,
    )
    const signer = ['-cert', this.certificate, '-keyfile', this.#path('ca.key')]
    await this.#openssl(['ca', '-config', config, '-gencrl', ...signer, '-out', list])
    return list
  }

  /** The name under which OpenSSL looks for a revocation list of this authority's. */
  async revocationHash(list: string): Promise<string> {
    const { stdout } = await run('openssl', ['crl', '-in', list, '-hash', '-noout'])
    return `${stdout.trim()}.r0`
  }

  [Symbol.asyncDispose](): Promise<void> {
    return rm(this.folder, { recursive: true, force: true })
  }

  #path(name: string): string {
    return join(this.folder, name)
  }

  async #openssl(args: readonly string[]): Promise<void> {
    await run('openssl', args)
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
