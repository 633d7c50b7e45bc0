/** Typed settings: the file, the environment, flags, defaults, and the options that programs give. */
export { ConfigInvalid, type Source } from './invalid.js'
export { flagOf, type Loaded, type LoadOptions, loadConfig, readConfigFile } from './load.js'
export { nearest } from './nearest.js'
export { checkOptions, MAX_OPTION_MS } from './options.js'
export { controlPath, defaultConfigFile, defaultStateDir, type Role, type Surroundings, surroundings } from './paths.js'
export { type Config, type PartialConfig, SETTINGS, splitAddress, variableOf } from './settings.js'
