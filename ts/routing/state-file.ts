/** What the files of guards and of the second layer have in common: text of exactly one form, refused whole otherwise. */
import * as v from 'valibot'
import { type AnonNetError, errorFromCode } from '../errors/index.js'

/** The error of a damaged file. */
export function damagedFile(what: string, detail: string): AnonNetError {
  return errorFromCode('ERR_ANONNET_STORE_FAILED', { detail: `${what} file: ${detail}` })
}

/**
 * The text's value.
 * @throws ERR_ANONNET_STORE_FAILED when it is too long or not of that form.
 */
export function parseStateFile<S extends v.GenericSchema>(text: string, what: string, maxChars: number, schema: S): v.InferOutput<S> {
  if (text.length > maxChars) throw damagedFile(what, 'too large')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The parser's message quotes the text, which holds node ids.
    throw damagedFile(what, 'not JSON')
  }
  const parsed = v.safeParse(schema, value)
  if (!parsed.success) throw damagedFile(what, v.getDotPath(parsed.issues[0]) ?? 'not an object')
  return parsed.output
}
