/**
 * Takes out of a text what an error or a log line must not carry. Details are written by our own code and should hold none of
 * it; this is the net below, for texts that come from the operating system or from a peer.
 */

/** Longest detail that a message carries, in characters. */
export const MAX_DETAIL_CHARS = 200

/** Longest text that the patterns are run over, in characters: what is behind it is cut away anyway. */
const MAX_SCRUB_CHARS = 4 * MAX_DETAIL_CHARS

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/\b[a-z][a-z0-9+.-]{0,15}:\/\/[^\s'"]+/gi, '<url>'],
  [/\b[a-z2-7]{56}(?:\.anon(?:\.alt)?)?\b/gi, '<service>'],
  [/[^\s'"]+\.anon(?:\.alt)?\b(?::\d+)?/gi, '<service>'],
  [/\b[0-9a-f]{32,}\b/gi, '<key>'],
  [/[A-Za-z0-9+/_-]{40,}={0,2}/g, '<key>'],
  [/\b\d{1,3}(?:\.\d{1,3}){3}\b(?:\/\d{1,2})?(?::\d{1,5})?/g, '<address>'],
  [/\[[0-9a-f:.%]*:[0-9a-f:.%]*\](?::\d{1,5})?/gi, '<address>'],
  [/(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])/gi, '<address>'],
  [/\b[\w-]+(?:\.[\w-]+)+:\d{1,5}\b/g, '<target>'],
  [/(?:\b[a-z]:\\|\\\\)[^\s'"]+/gi, '<path>'],
  [/(?<![\w<])~?\/(?:[^\s'"/]+\/?)+/g, '<path>']
]

/** The text without addresses, keys, targets, paths and control characters, cut to {@link MAX_DETAIL_CHARS}. */
export function scrub(text: string): string {
  let clean = text.slice(0, MAX_SCRUB_CHARS).replace(/\p{Cc}+/gu, ' ')
  for (const [pattern, word] of PATTERNS) clean = clean.replace(pattern, word)
  clean = clean.trim()
  return clean.length > MAX_DETAIL_CHARS ? `${clean.slice(0, MAX_DETAIL_CHARS - 1)}…` : clean
}
