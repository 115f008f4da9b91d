/** A browser without a window, and pages in it that must not complain. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium, type Browser, type Page } from 'playwright-core'
import { findChromium } from './program.js'

export interface PageLook {
  readonly width?: number
  readonly height?: number
  readonly colorScheme?: 'light' | 'dark'
}

export class TestBrowser implements AsyncDisposable {
  readonly #browser: Browser
  readonly #folder: string
  #files = 0

  private constructor(browser: Browser, folder: string) {
    this.#browser = browser
    this.#folder = folder
  }

  static async open(): Promise<TestBrowser> {
    const { path, env } = await findChromium()
    // Its sandbox needs what ordinary users and containers may not have; it opens only what a test has written.
    const args = ['--no-sandbox', '--disable-dev-shm-usage']
    const given = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined)
    const browser = await chromium.launch({
      executablePath: path,
      env: Object.fromEntries(given),
      args,
    })
    return new TestBrowser(browser, await mkdtemp(join(tmpdir(), 'pgmc-page-')))
  }

  /** Opens a page from a file, gives it to `look`, and fails where the page has complained or asked for anything else. */
  async look(
    html: string,
    { width = 1400, height = 900, colorScheme = 'light' }: PageLook,
    look: (page: Page) => Promise<void>,
  ): Promise<void> {
    const path = join(this.#folder, `${++this.#files}.html`)
    await writeFile(path, html)
    const page = await this.#browser.newPage({ viewport: { width, height }, colorScheme })
    const wrong: string[] = []
    page.on('console', (message) => wrong.push(`${message.type()}: ${message.text()}`))
    page.on('pageerror', (error) => wrong.push(String(error)))
    page.on('request', (request) => wrong.push(`asked for ${request.url()}`))
    const url = pathToFileURL(path).href
    await page.goto(url)
    await look(page)
    await page.close()
    assert.deepEqual(
      wrong.filter((line) => line !== `asked for ${url}`),
      [],
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close()
    await rm(this.#folder, { recursive: true, force: true })
  }
}
