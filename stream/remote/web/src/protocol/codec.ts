/** Mesh messages: a face's surface (the twin of stream/protocol/mesh_codec.py). */

import { ProtocolError } from "./errors";
import { FieldReader } from "./reader";
import { soundCamera, type Surface } from "./types";
import { unpack } from "./zstd";

const HEADER_BYTES = 120;
const KEY = 1;
const MAX_SIDE = 512;

/** Key frames remembered: a delta that was overtaken by a newer key is late anyway. */
const REFERENCES = 4;

interface Reference {
  size: number;
  levels: Uint16Array<ArrayBuffer>;
}

/** Decodes one lane's mesh messages, in whatever order they come; nothing in them is trusted. */
export class MeshDecoder {
  /** A delta came whose reference is not known: ask the sender for a key frame. */
  needsKey = false;

  private newest = 0;
  private readonly references = new Map<number, Reference>();

  /**
   * The surface, or null where the message is older than one decoded before or lacks its reference.
   *
   * @throws ProtocolError the message is damaged; what was decoded before stays usable.
   */
  decode(sequence: number, body: Uint8Array): Surface | null {
    const { key, reference, ...surface } = readHeader(body);
    const stale = sequence <= this.newest;
    if (stale && !key) return null;
    const before = key ? undefined : this.references.get(reference);
    if (!key && before?.size !== surface.size) {
      this.needsKey = true;
      return null;
    }
    const planes = unpack(body.subarray(HEADER_BYTES), 2 * surface.size ** 2);
    const levels = levelsOf(planes, surface.size, surface.bits, before?.levels);
    if (key) this.remember(sequence, { size: surface.size, levels });
    if (stale) return null;
    this.newest = sequence;
    return { ...surface, levels };
  }

  private remember(sequence: number, reference: Reference): void {
    this.needsKey = false;
    this.references.set(sequence, reference);
    while (this.references.size > REFERENCES) this.references.delete(Math.min(...this.references.keys()));
  }
}

function readHeader(body: Uint8Array) {
  if (body.length < HEADER_BYTES) throw new ProtocolError(`A mesh message of ${body.length} bytes is too short.`);
  const read = new FieldReader(body);
  const [bits, flags, size] = [read.u8(), read.u8(), read.u16()];
  const [index, reference, captured, track] = [read.u32(), read.u32(), read.u64(), read.u32()];
  const [low, high, jump] = read.f32s(3);
  const [fx, fy, cx, cy] = read.f32s(4);
  const camera = { fx, fy, cx, cy, width: read.u16(), height: read.u16() };
  const [x, y, half, angle] = read.f32s(4);
  const pose = read.f32s(12);
  // Every comparison is false for NaN, so that none passes.
  const sound =
    bits >= 10 &&
    bits <= 14 &&
    flags <= KEY &&
    (flags === KEY) === (reference === 0) &&
    size >= 2 &&
    size <= MAX_SIDE &&
    captured <= Number.MAX_SAFE_INTEGER &&
    low >= -4 &&
    high <= 4 &&
    high - low >= 1e-3 &&
    jump > 0 &&
    jump <= 4 &&
    soundCamera(camera) &&
    Math.abs(x) <= 1e5 &&
    Math.abs(y) <= 1e5 &&
    half >= 0.5 &&
    half <= 32766 &&
    Math.abs(angle) <= 10 &&
    pose.every((value) => Math.abs(value) <= 1e6) &&
    pose[11] >= 1 &&
    pose[11] <= 1e5;
  if (!sound) throw new ProtocolError("A mesh message's header holds values that cannot be.");
  const crop = { x, y, half, angle };
  return { key: flags === KEY, reference, index, captured, track, camera, crop, pose, size, bits, low, high, jump };
}

/** The residuals' sums along rows and columns, modulo 2^bits, added to the reference's levels. */
function levelsOf(
  planes: Uint8Array,
  size: number,
  bits: number,
  before: Uint16Array | undefined,
): Uint16Array<ArrayBuffer> {
  const pixels = size * size;
  const top = (1 << bits) - 1;
  const levels = new Uint16Array(pixels);
  // The sums above the current row. They wrap at 2^32, of which 2^bits is a divisor.
  const above = new Int32Array(size);
  for (let row = 0, pixel = 0; row < size; row++) {
    let along = 0;
    for (let column = 0; column < size; column++, pixel++) {
      const code = planes[pixel] | (planes[pixels + pixel] << 8);
      along += code & 1 ? -((code + 1) >> 1) : code >> 1;
      const sum = (above[column] + along) | 0;
      above[column] = sum;
      levels[pixel] = (sum + (before ? before[pixel] : 0)) & top;
    }
  }
  return levels;
}

/** Crop units, NaN where there is no surface. The page draws from levels; this is for those who want depths. */
export function depthsOf(surface: Surface): Float64Array {
  const step = (surface.high - surface.low) / (2 ** surface.bits - 2);
  return Float64Array.from(surface.levels, (level) => (level ? surface.low + (level - 1) * step : NaN));
}
