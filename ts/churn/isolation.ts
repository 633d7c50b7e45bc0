/** Whose circuit is whose. */

/** What tells one user of circuits from another. What is absent differs from what is empty. */
export interface IsolationParts {
  /** Which listener, or which part of the node. */
  readonly listener?: number | string | undefined
  /** The client's IP address, without a port: each connection of one program has another. */
  readonly client?: string | undefined
  readonly user?: string | undefined
  readonly password?: string | undefined
  /** The `isolate` option of the API, or a header of the HTTP proxy. */
  readonly token?: string | undefined
  /** The target, where a circuit for each target is asked for. */
  readonly target?: string | undefined
}

/** One string for all parts: two are equal only if every part is. */
export function isolationKey(parts: IsolationParts): string {
  return JSON.stringify([parts.listener, parts.client, parts.user, parts.password, parts.token, parts.target].map((part) => part ?? null))
}
