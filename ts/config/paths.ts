/** Where files are: systemd's folders first, then XDG's, or the platform's own. */
import { createHash } from 'node:crypto'
import { homedir, tmpdir, userInfo } from 'node:os'
import { posix, win32 } from 'node:path'

/** What decides on paths; the defaults are this process's. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly platform: NodeJS.Platform
  readonly home: string
}

/** This process's surroundings. */
export function surroundings(): Surroundings {
  return { environment: process.env, platform: process.platform, home: homedir() }
}

export type Role = 'client' | 'relay' | 'bootstrap'

const pathOf = (platform: NodeJS.Platform) => (platform === 'win32' ? win32 : posix)

/** XDG wants absolute paths and tells us to ignore others; systemd may give several, separated by colons. */
function folder(value: string | undefined, platform: NodeJS.Platform): string | undefined {
  const first = platform === 'win32' ? value : value?.split(':')[0]
  return first !== undefined && pathOf(platform).isAbsolute(first) ? first : undefined
}

/** The configuration file that is read when none is named. */
export function defaultConfigFile(place: Surroundings = surroundings()): string {
  const { environment, platform, home } = place
  const { join } = pathOf(platform)
  const systemd = folder(environment.CONFIGURATION_DIRECTORY, platform)
  if (systemd !== undefined) return join(systemd, 'anonnet.toml')
  const xdg = folder(environment.XDG_CONFIG_HOME, platform)
  if (xdg !== undefined) return join(xdg, 'anonnet', 'anonnet.toml')
  if (platform === 'win32') return join(environment.APPDATA ?? join(home, 'AppData', 'Roaming'), 'anonnet', 'anonnet.toml')
  if (platform === 'darwin') return join(home, 'Library', 'Application Support', 'anonnet', 'anonnet.toml')
  return join(home, '.config', 'anonnet', 'anonnet.toml')
}

/** The state folder of a role when none is named. */
export function defaultStateDir(role: Role, place: Surroundings = surroundings()): string {
  const { environment, platform, home } = place
  const { join } = pathOf(platform)
  const systemd = folder(environment.STATE_DIRECTORY, platform)
  if (systemd !== undefined) return systemd
  const xdg = folder(environment.XDG_STATE_HOME, platform)
  if (xdg !== undefined) return join(xdg, 'anonnet', role)
  if (platform === 'win32') return join(environment.LOCALAPPDATA ?? join(home, 'AppData', 'Local'), 'anonnet', role)
  if (platform === 'darwin') return join(home, 'Library', 'Application Support', 'anonnet', role)
  return join(home, '.local', 'state', 'anonnet', role)
}

/** `sockaddr_un` holds 104 bytes where it is smallest, with the final zero; the server binds `.ctl-<pid>` beside it first. */
const MAX_SOCKET_PATH_BYTES = 103

/** The control socket of the node that keeps its state in `stateDir`: there, or in a short place where that path is too long for a socket. */
export function controlPath(stateDir: string, place: Surroundings = surroundings()): string {
  const { environment, platform } = place
  const { join, resolve } = pathOf(platform)
  const full = resolve(stateDir)
  const mark = createHash('sha256').update(full).digest('hex').slice(0, 16)
  if (platform === 'win32') return `\\\\.\\pipe\\anonnet-${mark}`
  const beside = join(full, 'control.sock')
  if (Buffer.byteLength(join(full, '.ctl-4194304')) <= MAX_SOCKET_PATH_BYTES) return beside
  const run = folder(environment.RUNTIME_DIRECTORY, platform) ?? folder(environment.XDG_RUNTIME_DIR, platform)
  return run === undefined ? join(tmpdir(), `anonnet-${userInfo().uid}-${mark}.sock`) : join(run, `anonnet-${mark}.sock`)
}
