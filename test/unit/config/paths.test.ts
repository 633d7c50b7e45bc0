import { describe, expect, it } from 'vitest'
import { controlPath, defaultConfigFile, defaultStateDir, type Surroundings } from '../../../ts/config/index.js'

const place = (environment: Record<string, string>, platform: NodeJS.Platform = 'linux'): Surroundings => ({
  environment,
  platform,
  home: '/h'
})

describe('default folders', () => {
  it('follows XDG', () => {
    expect(defaultConfigFile(place({}))).toBe('/h/.config/anonnet/anonnet.toml')
    expect(defaultConfigFile(place({ XDG_CONFIG_HOME: '/c' }))).toBe('/c/anonnet/anonnet.toml')
    expect(defaultStateDir('relay', place({}))).toBe('/h/.local/state/anonnet/relay')
    expect(defaultStateDir('client', place({ XDG_STATE_HOME: '/s' }))).toBe('/s/anonnet/client')
  })

  it('ignores relative XDG paths, as the specification says', () => {
    expect(defaultConfigFile(place({ XDG_CONFIG_HOME: 'c' }))).toBe('/h/.config/anonnet/anonnet.toml')
    expect(defaultStateDir('client', place({ XDG_STATE_HOME: '../s' }))).toBe('/h/.local/state/anonnet/client')
  })

  it("takes systemd's folders first", () => {
    const environment = {
      XDG_STATE_HOME: '/s',
      STATE_DIRECTORY: '/var/lib/anonnet:/var/lib/other',
      CONFIGURATION_DIRECTORY: '/etc/anonnet'
    }
    expect(defaultStateDir('relay', place(environment))).toBe('/var/lib/anonnet')
    expect(defaultConfigFile(place(environment))).toBe('/etc/anonnet/anonnet.toml')
  })

  it("uses each platform's own places", () => {
    expect(defaultStateDir('client', place({}, 'darwin'))).toBe('/h/Library/Application Support/anonnet/client')
    expect(defaultConfigFile({ ...place({ APPDATA: 'C:\\A' }, 'win32'), home: 'C:\\U' })).toBe('C:\\A\\anonnet\\anonnet.toml')
    expect(defaultStateDir('client', { ...place({ LOCALAPPDATA: 'C:\\L' }, 'win32'), home: 'C:\\U' })).toBe('C:\\L\\anonnet\\client')
  })

  it('tells the roles apart', () => {
    expect(new Set((['client', 'relay', 'bootstrap'] as const).map((role) => defaultStateDir(role, place({})))).size).toBe(3)
  })
})

describe('controlPath', () => {
  it('is in the state folder', () => {
    expect(controlPath('/s/client', place({}))).toBe('/s/client/control.sock')
  })

  it('moves to a short place where a socket could not have that path, another for each folder', () => {
    const long = `/${'x'.repeat(120)}`
    const path = controlPath(`${long}/a`, place({ XDG_RUNTIME_DIR: '/run/user/1' }))
    expect(path).toMatch(/^\/run\/user\/1\/anonnet-[0-9a-f]{16}\.sock$/)
    expect(controlPath(`${long}/b`, place({ XDG_RUNTIME_DIR: '/run/user/1' }))).not.toBe(path)
    expect(Buffer.byteLength(controlPath(`${long}/a`, place({})))).toBeLessThan(104)
  })

  it('is a pipe on Windows', () => {
    expect(controlPath('C:\\s', place({}, 'win32'))).toMatch(/^\\\\\.\\pipe\\anonnet-[0-9a-f]{16}$/)
  })
})
