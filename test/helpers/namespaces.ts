/** Two network namespaces joined by one wire, IPv6 off in both; removed at the end, with whatever runs in them. Linux and root only. */
import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { type Spawned, start } from './processes.js'

/** The interface's name, the same at both ends. */
export const WIRE = 'wire'
const LIMIT_MS = 10_000

function ip(...args: string[]): string {
  const done = spawnSync('ip', args, { encoding: 'utf8', timeout: LIMIT_MS })
  if (done.status !== 0) throw new Error(`ip ${args.join(' ')}: ${done.stderr || done.error?.message}`)
  return done.stdout
}

/** Why this machine cannot make them; undefined where it can. */
export function noNamespaces(): string | undefined {
  if (process.platform !== 'linux') return 'no Linux'
  if (process.getuid?.() !== 0) return 'not root'
  const name = `anbr-try-${process.pid}`
  try {
    ip('netns', 'add', name)
    ip('-n', name, 'link', 'add', 'name', WIRE, 'type', 'veth', 'peer', 'name', 'peer0')
    return undefined
  } catch {
    return 'no network namespaces'
  } finally {
    spawnSync('ip', ['netns', 'del', name])
  }
}

/** A namespace of this test. */
export class Namespace {
  readonly name: string
  #resolver: string | undefined

  constructor(what: string) {
    this.name = `anbr-${what}-${process.pid}`
    ip('netns', 'add', this.name)
    afterAll(() => this.remove())
    this.sh('for all in all default; do echo 1 > /proc/sys/net/ipv6/conf/$all/disable_ipv6; done 2>/dev/null; true')
    this.ip('link', 'set', 'lo', 'up')
  }

  ip(...args: string[]): string {
    return ip('-n', this.name, ...args)
  }

  /** Runs a shell's line in it. */
  sh(line: string): string {
    const done = spawnSync('ip', ['netns', 'exec', this.name, 'sh', '-c', line], { encoding: 'utf8', timeout: LIMIT_MS })
    if (done.status !== 0) throw new Error(`${line}: ${done.stderr}`)
    return done.stdout
  }

  /** Names are asked of this server by all that `start` runs from now on. */
  resolver(folder: string, address: string): void {
    const file = join(folder, 'resolv.conf')
    writeFileSync(file, `nameserver ${address}\noptions timeout:1 attempts:1\n`)
    const shell = join(folder, 'with-resolver')
    // `ip netns exec` gives each program mounts of its own: nobody else sees this one.
    writeFileSync(shell, `#!/bin/sh\nmount --bind ${file} /etc/resolv.conf && exec "$@"\n`)
    chmodSync(shell, 0o700)
    this.#resolver = shell
  }

  start(command: string, args: readonly string[], environment: Record<string, string> = {}): Spawned {
    const wrapped = this.#resolver === undefined ? [command, ...args] : [this.#resolver, command, ...args]
    return start('ip', ['netns', 'exec', this.name, ...wrapped], environment)
  }

  /** Kills what runs in it, and removes it. */
  remove(): void {
    for (const pid of spawnSync('ip', ['netns', 'pids', this.name], { encoding: 'utf8' }).stdout?.trim().split(/\s+/) ?? []) {
      try {
        if (pid !== '') process.kill(Number(pid), 'SIGKILL')
      } catch {
        // ended meanwhile
      }
    }
    spawnSync('ip', ['netns', 'del', this.name], { timeout: LIMIT_MS })
  }
}

/** Joins them: the second, which has the address, sends everything over the wire; the first knows the way back. */
export function connectBoth(world: Namespace, client: Namespace, address: string): void {
  world.ip('link', 'add', 'name', WIRE, 'type', 'veth', 'peer', 'name', WIRE, 'netns', client.name)
  for (const end of [world, client]) {
    // One packet a frame, as on a cable: a capture counts frames.
    end.ip('link', 'set', WIRE, 'gso_max_segs', '1')
    end.ip('link', 'set', WIRE, 'up')
  }
  client.ip('addr', 'add', `${address}/32`, 'dev', WIRE)
  client.ip('route', 'add', 'default', 'dev', WIRE)
  world.ip('route', 'add', `${address}/32`, 'dev', WIRE)
}

/**
 * From now on the world takes nothing from the wire but what goes to that address. The client's side still puts everything on the wire, so that
 * what goes elsewhere is seen there.
 */
export function onlyReachable(world: Namespace, client: Namespace, address: string): void {
  // The kernel's own questions for the client's hardware address come from this one too.
  world.ip('addr', 'add', `${address}/32`, 'dev', WIRE)
  world.ip('addr', 'del', `${address}/32`, 'dev', 'lo')
  world.ip('rule', 'add', 'pref', '10', 'lookup', 'local')
  world.ip('rule', 'add', 'pref', '1', 'iif', WIRE, 'to', `${address}/32`, 'lookup', 'local')
  world.ip('rule', 'add', 'pref', '2', 'iif', WIRE, 'blackhole')
  world.ip('rule', 'del', 'pref', '0')
  client.ip('route', 'replace', 'default', 'via', address, 'dev', WIRE, 'onlink')
  client.ip('neigh', 'flush', 'all')
}
