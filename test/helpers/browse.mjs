// Opens a page with Debian's chromium and prints what came of it as one line of JSON. Options as JSON in the first argument: { url, profile, flags,
// waitMs, gatherMs: how long WebRTC may look for its addresses }. Playwright's own flags are not used: what is tested are the flags that a user is told to give.
import { chromium } from 'playwright-core'

const { url, profile, flags, waitMs, gatherMs = waitMs } = JSON.parse(process.argv[2])
// Root has no sandbox in a container; the rest is how this program talks to the browser.
const ours = ['--headless=new', '--no-sandbox', '--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank']
const context = await chromium.launchPersistentContext(profile, {
  executablePath: '/usr/bin/chromium',
  ignoreDefaultArgs: true,
  args: [...flags, ...ours],
  timeout: waitMs
})
try {
  const page = await context.newPage()
  const requests = []
  const sockets = []
  page.on('request', (request) => requests.push(request.url()))
  page.on('websocket', (socket) => sockets.push(socket.url()))
  const result = { requests, sockets }
  try {
    const response = await page.goto(url, { timeout: waitMs, waitUntil: 'load' })
    result.status = response?.status()
    await page.waitForFunction('window.echoed !== undefined', undefined, { timeout: waitMs })
    await page.waitForFunction('window.gathering === "complete"', undefined, { timeout: gatherMs })
  } catch (error) {
    result.error = String(error.message ?? error).split('\n')[0]
  }
  Object.assign(
    result,
    await page.evaluate(`({
      images: [...document.images].map((image) => [image.complete, image.naturalWidth]),
      ran: window.ran, echoed: window.echoed, gathering: window.gathering, candidates: window.candidates
    })`)
  )
  process.stdout.write(`${JSON.stringify(result)}\n`)
} finally {
  await context.close()
}
