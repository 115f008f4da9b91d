/** A release is made of what is committed, or refused with the reason. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { appendFile, cp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { pathOf } from '../support/root.js'
import { TemporaryFolder } from '../support/temporary-folder.js'

const run = promisify(execFile)

/** A repository with what a release is about, and nothing else. */
class Repository implements AsyncDisposable {
  readonly #folder: TemporaryFolder

  private constructor(folder: TemporaryFolder) {
    this.#folder = folder
  }

  static async open(): Promise<Repository> {
    const repository = new Repository(await TemporaryFolder.make())
    for (const name of ['CHANGELOG.md', 'package.json', 'package-lock.json', 'scripts/release.js']) {
      await cp(pathOf(name), repository.path(name))
    }
    await repository.git('init', '--quiet')
    await repository.commit()
    return repository
  }

  path(name: string): string {
    return join(this.#folder.path, name)
  }

  async git(...args: string[]): Promise<string> {
    const person = ['-c', 'user.name=somebody', '-c', 'user.email=somebody@example.test']
    const { stdout } = await run('git', [...person, ...args], { cwd: this.#folder.path })
    return stdout.trim()
  }

  async commit(): Promise<void> {
    await this.git('add', '--all')
    await this.git('commit', '--quiet', '--message', 'a change')
  }

  async release(version: string): Promise<string> {
    const env = {
      ...process.env,
      GIT_AUTHOR_NAME: 'somebody',
      GIT_AUTHOR_EMAIL: 'somebody@example.test',
      GIT_COMMITTER_NAME: 'somebody',
      GIT_COMMITTER_EMAIL: 'somebody@example.test',
    }
    const args = [this.path('scripts/release.js'), version, '--unchecked']
    const { stdout } = await run(process.execPath, args, { cwd: this.#folder.path, env })
    return stdout
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#folder[Symbol.asyncDispose]()
  }
}

test('a release dates the changelog, sets the version, commits and tags', async () => {
  await using repository = await Repository.open()
  assert.match(await repository.release('0.9.0'), /v0\.9\.0 is committed and tagged/)
  const read = (name: string): Promise<string> => readFile(repository.path(name), 'utf8')
  assert.match(await read('CHANGELOG.md'), /^## 0\.9\.0 \(\d{4}-\d\d-\d\d\)$/m)
  assert.equal((JSON.parse(await read('package.json')) as { version: string }).version, '0.9.0')
  const lock = JSON.parse(await read('package-lock.json')) as {
    packages: Record<string, { version: string }>
  }
  assert.equal(lock.packages['']!.version, '0.9.0')
  assert.equal(await repository.git('status', '--porcelain'), '')
  assert.equal(await repository.git('tag', '--points-at', 'HEAD'), 'v0.9.0')
})

test('what is not newer, not committed, not a version or without a change is no release', async () => {
  await using repository = await Repository.open()
  await assert.rejects(repository.release('next'), /a version is three numbers/)
  await appendFile(repository.path('CHANGELOG.md'), '\n')
  await assert.rejects(repository.release('0.9.0'), /changes that are not committed/)
  await repository.commit()
  await repository.release('0.9.0')
  await assert.rejects(repository.release('0.10.0'), /nothing has changed/)
  await appendFile(repository.path('CHANGELOG.md'), '\n## Unreleased\n')
  await repository.commit()
  await assert.rejects(repository.release('0.8.9'), /0\.8\.9 does not come behind v0\.9\.0/)
  await assert.rejects(repository.release('0.9.0'), /0\.9\.0 does not come behind v0\.9\.0/)
  await repository.release('0.10.0')
})
