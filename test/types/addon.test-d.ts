/** The generated contract of the addon and what ts/native believes of it are one: checked by tsc, no code runs. */

import type * as generated from '../../index.js'
import type { NativeAddon, NativeEvent, NativeNode, NativeNodeOptions, NativeSnapshot } from '../../ts/native/types.js'

type Assert<T extends true> = T
type Extends<A, B> = [A] extends [B] ? true : false
type Same<A, B> = [A, B] extends [B, A] ? true : false

/** Every method of ours is there and takes and gives what we think, but for events, which ts/native tells apart by their type. */
type Methods = Omit<NativeNode, 'drain'>
export type NodeFits = Assert<Extends<Omit<generated.NativeNode, 'drain'>, Methods>>
/** And there is none that we do not know. */
export type SameNames = Assert<Same<keyof generated.NativeNode, keyof NativeNode>>
export type EventTypes = Assert<Extends<generated.NativeEvent['type'], NativeEvent['type']>>
export type EventFields = Assert<
  Extends<
    NativeEvent extends infer E ? (E extends E ? keyof E : never) : never,
    keyof generated.NativeEvent | 'level' | 'target' | 'message'
  >
>
export type OptionsFit = Assert<Extends<NativeNodeOptions, generated.NativeNodeOptions>>
export type SnapshotFits = Assert<Extends<generated.NativeSnapshot, NativeSnapshot>>
type Functions = Omit<NativeAddon, 'NativeNode'>
export type FunctionsFit = Assert<Extends<Pick<typeof generated, keyof Functions>, Functions>>
