/** Finds what somebody meant: the nearest known word to one that is not known. */

/** Longest word that is compared, in characters: what is longer is nobody's typing mistake. */
const MAX_WORD_CHARS = 64

/** Insertions, deletions, replacements and swaps of neighbours that make `a` into `b`. */
export function editDistance(a: string, b: string): number {
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (above[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      let best = Math.min(replaced, (above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, (before[j - 2] ?? 0) + 1)
      row.push(best)
    }
    before = above
    above = row
  }
  return above[b.length] ?? 0
}

/** Letters that a short form has to have in common with the long one. */
const MIN_SHORT_FORM_CHARS = 4

/** The edit distance, but a short form of a word is near to it: `stateDirectory` and `stateDir`. */
function slip(a: string, b: string): number {
  const [short, long] = a.length < b.length ? [a, b] : [b, a]
  const distance = editDistance(a, b)
  return short.length >= MIN_SHORT_FORM_CHARS && long.startsWith(short) ? Math.min(distance, 2) : distance
}

/** The nearest of the known words, or undefined when none is near enough to be what was meant (a third of its letters, at least 2). */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  if (word.length > MAX_WORD_CHARS) return undefined
  const limit = Math.max(2, Math.floor(word.length / 3))
  let found: string | undefined
  let least = limit + 1
  for (const candidate of known) {
    const distance = slip(word.toLowerCase(), candidate.toLowerCase())
    if (distance < least) {
      least = distance
      found = candidate
    }
  }
  return found
}
