/** Events, channels and logs of a node. */
export * from './channels.js'
export * from './events.js'
export * from './logger.js'
export type * from './types.js'
