/** The page of a timeline, in a browser. */
import assert from 'node:assert/strict'
import { ManagedConnection } from 'pg-managed-connection'
import { record } from 'pg-managed-connection/timeline'
import { reason } from '../support/caught.js'
import { TestBrowser } from '../support/chromium/browser.js'
import { whyNoChromium } from '../support/chromium/program.js'
import { openSuite } from '../support/suite.js'
import type { Page } from 'playwright-core'

const { test, database } = await openSuite()
const options = { skip: await whyNoChromium(), resources: false }

/** A label and a text that would be markup and script, were they not texts. */
const HOSTILE = '</script><img src=x onerror="hacked = 1"><script>hacked = 1</script>\u2028'

/** Some of everything: 3 transactions, a leak, a statement that fails, one-shots. */
async function recordSome(): Promise<string> {
  await using manager = new ManagedConnection(database.conninfo)
  using timeline = record(manager)
  const work = (label: string, millis: number) =>
    manager.transaction((connection) => connection.query('SELECT pg_sleep($1)', [millis / 1_000]), { label })
  await Promise.all([work('import', 20), work('report', 300), work('import', 10)])
  await reason(
    manager.use((connection) => connection.query(`SELECT 1 -- ${HOSTILE.slice(0, -1)}`), { label: HOSTILE }),
  )
  await reason(manager.query('SELECT 1 / 0'))
  await Promise.all([1, 2, 3].map((number) => manager.query('SELECT $1::int AS look_up', [number])))
  return timeline.toHTML()
}

/** Ten thousand items, most of them of tasks that wait for each other. */
async function recordMany(): Promise<string> {
  await using manager = new ManagedConnection(database.conninfo)
  using timeline = record(manager)
  const task = async (number: number): Promise<void> => {
    for (let i = 0; i < 50; i++) {
      const label = number % 3 === 0 ? `task ${number}` : undefined
      await manager.transaction((connection) => connection.query('SELECT 1'), { label })
    }
  }
  await Promise.all(Array.from({ length: 60 }, (_, number) => task(number)))
  assert.equal(timeline.size, 10_000)
  return timeline.toHTML()
}

/** The colours of the picture's pixels, the most frequent first, and how many there are. */
function coloursOf(page: Page): Promise<string[]> {
  return page.evaluate(`(() => {
    const canvas = document.querySelector('canvas')
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
    const counts = new Map()
    for (let i = 0; i < data.length; i += 4) {
      const colour = [data[i], data[i + 1], data[i + 2]].join()
      counts.set(colour, (counts.get(colour) ?? 0) + 1)
    }
    return [...counts].sort((a, b) => b[1] - a[1]).map(([colour]) => colour)
  })()`)
}

/** Something that differs when the picture does. */
function pictureOf(page: Page): Promise<string> {
  return page.evaluate(`new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() =>
    resolve(document.querySelector('canvas').toDataURL()))))`)
}

const details = (page: Page): Promise<string> => page.locator('#details').innerText()

test(
  'the page draws, in light and in dark, wide and narrow, and never wider than its window',
  options,
  async () => {
    const html = await recordSome()
    await using browser = await TestBrowser.open()
    for (const colorScheme of ['light', 'dark'] as const) {
      for (const width of [1400, 360]) {
        await browser.look(html, { width, colorScheme }, async (page) => {
          const colours = await coloursOf(page)
          assert.equal(colours[0], colorScheme === 'light' ? '255,255,255' : '20,24,30')
          assert.ok(colours.length > 20, `only ${colours.length} colours`)
          const scrolled = await page.evaluate('document.documentElement.scrollWidth')
          assert.equal(scrolled, width)
          assert.match(await page.locator('.figures').innerText(), /waited[^]*held[^]*statements/)
        })
      }
    }
  },
)

test('it zooms and moves by wheel, buttons, keys and dragging', options, async () => {
  const html = await recordSome()
  await using browser = await TestBrowser.open()
  await browser.look(html, {}, async (page) => {
    const whole = await pictureOf(page)
    const changes = async (act: () => Promise<void>): Promise<void> => {
      const before = await pictureOf(page)
      await act()
      assert.notEqual(await pictureOf(page), before, act.toString())
    }
    const box = (await page.locator('#chart').boundingBox())!
    await page.mouse.move(box.x + 300, box.y + 100)
    await changes(() => page.mouse.wheel(0, -400))
    await changes(() => page.click('#zoom-in'))
    await changes(() => page.click('#zoom-out'))
    await page.focus('#chart')
    for (const key of ['+', '-', '+', 'ArrowRight', 'ArrowLeft'])
      await changes(() => page.keyboard.press(key))
    await page.mouse.move(box.x + 300, box.y + 100)
    await changes(async () => {
      await page.mouse.down()
      await page.mouse.move(box.x + 220, box.y + 100, { steps: 4 })
      await page.mouse.up()
    })
    await page.keyboard.press('0')
    assert.equal(await pictureOf(page), whole)
    await page.keyboard.press('+')
    await page.click('#zoom-all')
    assert.equal(await pictureOf(page), whole)
  })
})

test('a search tells how many it has found, and goes from one to the next', options, async () => {
  const html = await recordSome()
  await using browser = await TestBrowser.open()
  await browser.look(html, {}, async (page) => {
    const found = (): Promise<string> => page.locator('#found').innerText()
    const plain = await pictureOf(page)
    await page.keyboard.press('/')
    await page.keyboard.type('LOOK_UP')
    assert.equal(await found(), '3 found')
    assert.notEqual(await pictureOf(page), plain)
    for (const place of ['1 of 3', '2 of 3', '3 of 3', '1 of 3']) {
      await page.keyboard.press('Enter')
      assert.equal(await found(), place)
      assert.match(await details(page), /SELECT \$1::int AS look_up/)
    }
    await page.keyboard.press('Shift+Enter')
    assert.equal(await found(), '3 of 3')
    await page.fill('#search', 'division by zero')
    assert.equal(await found(), '1 found')
    await page.fill('#search', 'nobody')
    assert.equal(await found(), 'nothing found')
    await page.keyboard.press('Escape')
    assert.equal(await found(), '')
  })
})

test('details are shown by a click, by keys in the picture, and from the lists', options, async () => {
  const html = await recordSome()
  await using browser = await TestBrowser.open()
  await browser.look(html, {}, async (page) => {
    await page.focus('#chart')
    await page.keyboard.press('n')
    const first = await details(page)
    assert.match(first, /waiting[^]*import/)
    await page.keyboard.press('n')
    assert.notEqual(await details(page), first)
    await page.keyboard.press('p')
    assert.equal(await details(page), first)
    await page.keyboard.press('m')
    assert.match(await details(page), /left open and rolled back/)
    await page.click('button[data-item]')
    assert.match(await details(page), /pg_sleep[^]*report[^]*took[^]*rows/)
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    assert.match(await details(page), /pg_sleep[^]*import/)
    // In the middle of the row beneath the name of the first lane: the connection.
    const box = (await page.locator('#chart').boundingBox())!
    await page.click('#zoom-all')
    await page.mouse.click(box.x + box.width * 0.8, box.y + 26 + 20 + 9)
    assert.match(await details(page), /open[^]*process/)
    await page.click('summary')
    // The table is made when the browser tells that it has been opened, which may be after the click.
    await page.locator('#table tbody tr').nth(15).waitFor()
    await page.locator('#table tbody button').nth(0).focus()
    assert.match(await details(page), /waiting/)
    assert.match(
      (await page.locator('#table tbody button').nth(0).getAttribute('aria-label'))!,
      /wait waiting, label import/,
    )
  })
})

test('hostile texts stay texts, wherever they are shown', options, async () => {
  const html = await recordSome()
  await using browser = await TestBrowser.open()
  await browser.look(html, {}, async (page) => {
    await page.keyboard.press('/')
    await page.keyboard.type('onerror')
    await page.keyboard.press('Enter')
    assert.match(await details(page), /<img src=x onerror=/)
    await page.click('summary')
    await page.locator('#table tbody tr').nth(15).waitFor()
    assert.equal(await page.locator('img').count(), 0)
    assert.equal(await page.evaluate('typeof hacked'), 'undefined')
  })
})

test('ten thousand items are drawn without becoming slow', options, async (t) => {
  const html = await recordMany()
  await using browser = await TestBrowser.open()
  await browser.look(html, {}, async (page) => {
    const millis = await page.evaluate<number>(`(async () => {
      const chart = document.getElementById('chart')
      const frame = () => new Promise((resolve) => requestAnimationFrame(resolve))
      const press = (key) => chart.dispatchEvent(new KeyboardEvent('keydown', { key }))
      const start = performance.now()
      for (let i = 0; i < 40; i++) {
        press(['+', 'ArrowRight', '-', 'n'][i % 4])
        await frame()
      }
      return (performance.now() - start) / 40
    })()`)
    t.diagnostic(`${html.length} bytes, ${millis.toFixed(1)} ms a frame`)
    // A frame takes some 16 ms; this is for machines that do other things besides.
    assert.ok(millis < 500, `${millis} ms a frame`)
    await page.keyboard.press('/')
    await page.keyboard.type('task 30')
    assert.match(await page.locator('#found').innerText(), /\d+ found/)
  })
})
