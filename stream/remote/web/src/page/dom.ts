/** The page's elements, by id. */

/** @throws Error the page has no such element: index.html and this script do not belong together. */
export function element<E extends HTMLElement>(id: string, kind: new () => E): E {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`The page has no ${id}.`);
  return found;
}

export type Tone = "plain" | "good" | "bad";

/** Say something where screen readers are told of changes; saying the same again says nothing. */
export function say(id: string, words: string, tone: Tone = "plain"): void {
  const place = element(id, HTMLElement);
  if (place.textContent !== words) place.textContent = words;
  place.dataset.tone = tone;
}

/** Put a figure in its place. */
export function put(id: string, figure: string): void {
  const place = element(id, HTMLElement);
  if (place.textContent !== figure) place.textContent = figure;
}
