/** The errors of AnonNet. The public package exports the classes, `isAnonNetError` and the types; the rest is for the rooms. */
export * from './errors.js'
export * from './registry.js'
export * from './scrub.js'
