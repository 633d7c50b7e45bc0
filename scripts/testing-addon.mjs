// `node scripts/testing-addon.mjs`: an addon with the feature `testing`, which plants panics, in a folder of its own; prints its path. For
// test/binding/panic.test.ts; such an addon is never shipped.
import { join } from 'node:path'
import { buildLibrary, findCargo, root } from './lib.mjs'

findCargo()
// Not optimised: nothing here is measured, and a test waits for it.
const quick = ['--config', 'profile.dev.opt-level=0', '--config', 'profile.dev.package."*".opt-level=0']
const file = await buildLibrary(join(root, 'target', 'testing', 'anonnet.node'), ['--profile', 'dev', ...quick, '--features', 'testing'])
process.stdout.write(`${file}\n`)
