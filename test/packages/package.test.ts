/** What is packed is what users can load and compile, by every way in. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import ts from 'typescript'
import { install, pack } from '../support/packed.js'
import { pathOf } from '../support/root.js'
import { TemporaryFolder } from '../support/temporary-folder.js'

const run = promisify(execFile)
const root = pathOf()
const { exports } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { exports: object }
const SUBPATHS = Object.keys(exports).filter((path) => path !== './package.json')

/** Where a user has installed the tarball. */
const home = (await TemporaryFolder.make()).path
after(() => rm(home, { recursive: true, force: true }))
const tarball = await pack(home)
await install(tarball, home)

function tool(path: string): string {
  return join(root, 'node_modules', path)
}

test('attw finds nothing wrong with the types of any way in', async () => {
  const attw = tool('@arethetypeswrong/cli/dist/index.js')
  // No definitely-typed look-up, which would ask the network.
  const { stdout } = await run(process.execPath, [
    attw,
    tarball,
    '--profile',
    'strict',
    '--format',
    'json',
    '--no-definitely-typed',
  ])
  const { analysis } = JSON.parse(stdout) as {
    analysis: { entrypoints: object; problems: { kind: string }[] }
  }
  assert.deepEqual(Object.keys(analysis.entrypoints).sort(), Object.keys(exports).sort())
  assert.deepEqual(analysis.problems, [])
})

test('publint finds nothing wrong with the package', async () => {
  await run(process.execPath, [tool('publint/src/cli.js'), 'run', tarball, '--strict'])
})

for (const subpath of SUBPATHS) {
  const name = `pg-managed-connection${subpath.slice(1)}`
  test(`require('${name}') gives what import gives, without a warning`, async () => {
    const required = await run(process.execPath, ['-p', `Object.keys(require('${name}')).sort().join()`], {
      cwd: home,
    })
    const imported = await run(
      process.execPath,
      ['--input-type=module', '-e', `console.log(Object.keys(await import('${name}')).sort().join())`],
      { cwd: home },
    )
    assert.equal(required.stderr, '')
    assert.equal(required.stdout, imported.stdout)
    assert.match(required.stdout, /\w/)
  })
}

test('the optional packages are needed only by the ways in that are about them', async () => {
  // Beside the other one, whose packages would be found from within.
  await using folder = await TemporaryFolder.make()
  const bare = folder.path
  await install(tarball, bare, { without: ['@electric-sql', '@opentelemetry'] })
  for (const name of SUBPATHS.map((subpath) => `pg-managed-connection${subpath.slice(1)}`)) {
    const loaded = run(process.execPath, ['-e', `require('${name}')`], { cwd: bare })
    if (name.endsWith('/otel')) await assert.rejects(loaded, /@opentelemetry\/api/)
    else await loaded
  }
})

const CONSUMERS: Readonly<Record<string, ts.CompilerOptions>> = {
  nodenext: { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext },
  bundler: { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler },
}

for (const [name, resolution] of Object.entries(CONSUMERS)) {
  test(`the types mean what they say, and the examples compile: moduleResolution ${name}`, () => {
    const examples = ts.sys.readDirectory(join(root, 'examples'), ['.ts'])
    assert.ok(examples.length > 6)
    assert.deepEqual(diagnose([join(root, 'test/packages/types/usage.ts'), ...examples], resolution), [])
  })
}

test('the types are there for CommonJS, too', async () => {
  const file = join(root, 'test/packages/types/usage-of-commonjs.cts')
  assert.deepEqual(diagnose([file], CONSUMERS['nodenext']!), [])
})

function diagnose(files: string[], resolution: ts.CompilerOptions): string[] {
  const program = ts.createProgram(files, {
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    noEmit: true,
    // Ours are checked; those of others are theirs.
    skipLibCheck: true,
    ...resolution,
  })
  return ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) => {
    const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start).line + 1
    return `${file?.fileName ?? ''}:${line} ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
  })
}
