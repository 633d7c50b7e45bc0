/** What the rooms that speak to other nodes share: strict CBOR, bytes, and numeric addresses. No policy. */
export * from './address.js'
export * from './bytes.js'
export * from './cbor.js'
export * from './service.js'
