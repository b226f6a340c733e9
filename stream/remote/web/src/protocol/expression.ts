/** Expression and texture messages (the twin of stream/protocol/expression_codec.py). */

import { ProtocolError } from "./errors";
import { FieldReader } from "./reader";
import { soundCamera, type Expression, type Picture } from "./types";

export const COEFFICIENTS = 52;
const EXPRESSION_BYTES = 60 + 2 * COEFFICIENTS;
const TEXTURE_HEADER = 16;

/** @throws ProtocolError the message is damaged. */
export function readExpression(body: Uint8Array): Expression {
  if (body.length !== EXPRESSION_BYTES) {
    throw new ProtocolError(`An expression message of ${body.length} bytes must have ${EXPRESSION_BYTES}.`);
  }
  const read = new FieldReader(body);
  const [index, captured, track] = [read.u32(), read.u64(), read.u32()];
  const [fx, fy, cx, cy] = read.f32s(4);
  const camera = { fx, fy, cx, cy, width: read.u16(), height: read.u16() };
  const rotation = read.f32s(3);
  const translation = read.f32s(3);
  const sound =
    captured <= Number.MAX_SAFE_INTEGER &&
    soundCamera(camera) &&
    rotation.every((turn) => Math.abs(turn) <= 10) &&
    translation.every((place) => Math.abs(place) <= 1e6);
  if (!sound) throw new ProtocolError("An expression message holds values that cannot be.");
  const coefficients = Float32Array.from({ length: COEFFICIENTS }, () => read.u16() / 65535);
  return { index, captured, track, camera, rotation, translation, coefficients };
}

/** The JPEG itself is left to the browser. @throws ProtocolError the message is damaged. */
export function readPicture(body: Uint8Array): Picture {
  if (body.length <= TEXTURE_HEADER) throw new ProtocolError(`A texture message of ${body.length} bytes is too short.`);
  const read = new FieldReader(body);
  const picture = { index: read.u32(), captured: read.u64(), width: read.u16(), height: read.u16() };
  const { captured, width, height } = picture;
  const [first, second] = body.subarray(TEXTURE_HEADER);
  const sound =
    captured <= Number.MAX_SAFE_INTEGER &&
    [width, height].every((side) => side >= 1 && side <= 32766) &&
    first === 0xff &&
    second === 0xd8;
  if (!sound) throw new ProtocolError("A texture message holds values that cannot be.");
  return { ...picture, jpeg: body.slice(TEXTURE_HEADER) };
}
