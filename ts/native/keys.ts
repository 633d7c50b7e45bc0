/**
 * Functions of the addon that need no node: signatures, key files, versions.
 */

import { guarded } from './guarded.js'
import { loadAddon } from './loader.js'
import type { AddonVersion, KeyFileInfo, RegistryEntry } from './types.js'

function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function optional(bytes: Uint8Array | undefined): Buffer | undefined {
  return bytes === undefined ? undefined : buffer(bytes)
}

/** Whether an Ed25519 signature is right (strict verification). Keys and signatures of a wrong length are just wrong. */
export function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false
  return guarded(() => loadAddon().verify(buffer(publicKey), buffer(message), buffer(signature)))
}

/** The node id (64 hex digits) of an identity key (32 bytes). Throws ERR_ANONNET_KEY_INVALID. */
export function nodeIdOf(publicKey: Uint8Array): string {
  return guarded(() => loadAddon().nodeIdOf(buffer(publicKey)))
}

/** The native error registry, in the order of the documentation. */
export function errorRegistry(): RegistryEntry[] {
  return guarded(() => loadAddon().errorRegistry())
}

/** The versions of the addon and of the wire protocol, and what the addon was built with. */
export function version(): AddonVersion {
  return guarded(() => loadAddon().version())
}

/** Makes a key file (mode 0600) and returns its node id; never overwrites. Throws ERR_ANONNET_STORE_FAILED. */
export function keyFileCreate(path: string, passphrase?: Uint8Array): string {
  return guarded(() => loadAddon().keyFileCreate(path, optional(passphrase)).nodeId)
}

/** The public half of a key file. Throws ERR_ANONNET_KEY_INVALID, _KEY_PASSPHRASE, _KEY_PERMISSIONS, _STORE_FAILED. */
export function keyFileInspect(path: string, passphrase?: Uint8Array): KeyFileInfo {
  return guarded(() => loadAddon().keyFileInspect(path, optional(passphrase)))
}

/** Makes a new circuit key in a key file and returns it; the old one is accepted for 24 hours more. Throws as `keyFileInspect`. */
export function keyFileRotate(path: string, passphrase?: Uint8Array): Uint8Array {
  return guarded(() => loadAddon().keyFileRotate(path, optional(passphrase)).onionKey)
}

/** The keys sealed with another passphrase, to be carried elsewhere. Throws as `keyFileInspect`. */
export function keyFileExport(path: string, passphrase: Uint8Array | undefined, exportPassphrase: Uint8Array): Uint8Array {
  return guarded(() => loadAddon().keyFileExport(path, optional(passphrase), buffer(exportPassphrase)))
}

/** Writes a key file from sealed keys and returns its node id; never overwrites. Throws as `keyFileInspect`. */
export function keyFileImport(path: string, sealed: Uint8Array, importPassphrase: Uint8Array, passphrase?: Uint8Array): string {
  return guarded(() => loadAddon().keyFileImport(path, buffer(sealed), buffer(importPassphrase), optional(passphrase)).nodeId)
}
