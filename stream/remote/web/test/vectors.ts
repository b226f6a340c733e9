// The messages that tools/make_protocol_vectors.py wrote.
import { readFileSync } from "node:fs";
import path from "node:path";

declare const VECTORS: string;

export interface Described {
  kind: number;
  lane: number;
  sequence: number;
  datagrams: number;
  [field: string]: any;
}

const file = (name: string) => new Uint8Array(readFileSync(path.join(VECTORS, name)));

export const described: { names: string[]; messages: Described[] } = JSON.parse(
  readFileSync(path.join(VECTORS, "vectors.json"), "utf8"),
);

/** The datagrams of each message. */
export const datagrams: Uint8Array[][] = (() => {
  const bytes = file("messages.bin");
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let at = 0;
  return described.messages.map(({ datagrams: count }) =>
    Array.from({ length: count }, () => {
      const length = view.getUint16(at, true);
      at += 2 + length;
      return bytes.slice(at - length, at);
    }),
  );
})();

/** The levels of each surface, in the order of the messages. */
export const levels: Uint16Array[] = (() => {
  const all = new Uint16Array(file("levels.bin").buffer.slice(0));
  let at = 0;
  return described.messages.flatMap(({ kind, size }) => {
    if (kind !== 1) return [];
    at += size * size;
    return [all.slice(at - size * size, at)];
  });
})();

/** Numbers 0 to 1 that look random and are the same each time (mulberry32). */
export function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
