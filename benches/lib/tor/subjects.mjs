// Who is measured in turn: the two networks of Tor, each with a client without conflux and one as shipped, and ours.
import { pathsOf } from './measure.mjs'

/** A Tor network's two subjects: its client without conflux, which also builds the circuits that are counted, and the one as shipped. */
function torSubjects(network) {
  const name = network.scheduler.toLowerCase()
  const build = ({ count, atOnce }) => network.control.build({ paths: pathsOf(network.fingerprints), count, atOnce })
  const processes = network.subject(network.client)
  return {
    [name]: { processes, proxy: network.socks.plain, circuits: { build, processes, more: [] } },
    [`${name}-conflux`]: {
      processes: network.subject(network.confluxClient),
      proxy: network.socks.conflux,
      renew: () => network.renewConflux()
    }
  }
}

function ourSubject(network, builder) {
  const build = ({ count, atOnce }) => builder.call('build', { paths: pathsOf(network.hops), count, atOnce })
  const processes = [...network.all.filter((child) => child !== network.client), { name: 'builder', pid: builder.pid }]
  return { ours: { processes: network.all, proxy: network.socks, circuits: { build, processes, more: [builder.pid] } } }
}

/** All subjects by name, with the processes that run now. */
export function subjectsOf({ kist, vanilla, ours }, builder) {
  return { ...torSubjects(kist), ...torSubjects(vanilla), ...ourSubject(ours, builder) }
}

/** What `idleCircuits` needs of each network. */
export function idleParts({ kist, vanilla, ours }, builder, count) {
  const ofTor = (network) => {
    const kept = []
    const build = async ({ count: number, atOnce }) => {
      const { circuits } = await network.control.build({ paths: [network.fingerprints.slice(0, 3)], count: number, atOnce, keep: true })
      kept.push(...circuits)
    }
    return { relays: network.relays.slice(0, 3), client: network.client, build, drop: () => network.control.drop(kept), count }
  }
  return { kist: ofTor(kist), vanilla: ofTor(vanilla), ours: idlePart(ours, builder, count) }
}

/** The same of our network alone. */
export function idlePart(ours, builder, count) {
  const build = (options) => builder.call('build', { path: ours.hops.slice(0, 3), ...options })
  return { relays: ours.relays.slice(0, 3), client: builder, build, drop: () => builder.call('drop'), count }
}
