#!/usr/bin/env node
// RUSTC_WORKSPACE_WRAPPER of `npm run coverage`: instruments the workspace's own crates only, so that dependencies are neither rebuilt nor slowed.
import { spawnSync } from 'node:child_process'

const [rustc = 'rustc', ...args] = process.argv.slice(2)
const probing = args.includes('-vV') || args.includes('-')
const result = spawnSync(rustc, probing ? args : [...args, '-Cinstrument-coverage'], { stdio: 'inherit' })
process.exit(result.status ?? 1)
