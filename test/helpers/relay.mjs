// A relay in a process of its own, for tests that kill it: options as JSON in the first argument, one line of JSON when it is published.
import { createRelay } from '../../dist/index.js'

const relay = await createRelay(JSON.parse(process.argv[2]))
process.stdout.write(`${JSON.stringify({ nodeId: relay.nodeId, address: relay.address })}\n`)
process.once('SIGTERM', () => relay.close({ drainMs: 0 }).then(() => process.exit(0)))
