/** What messages say; the frames of reference and units are those of stream/types.py. */

/** A pinhole camera in image pixels. */
export interface Camera {
  fx: number;
  fy: number;
  cx: number;
  cy: number;
  width: number;
  height: number;
}

/** A square in the image, turned with the face by `angle` radians. */
export interface Crop {
  x: number;
  y: number;
  half: number;
  angle: number;
}

/** One face's surface in one picture. */
export interface Surface {
  /** Of the picture, modulo 2^32. */
  index: number;
  /** When the picture was taken, microseconds since 1970 on the server's clock. */
  captured: number;
  track: number;
  camera: Camera;
  crop: Crop;
  /** The upper three rows, row by row, of the matrix head to camera, millimetres. */
  pose: number[];
  /** The grid has size x size vertices. */
  size: number;
  bits: number;
  /** Depths of levels 1 and 2^bits - 1, crop units. */
  low: number;
  high: number;
  /** Depth difference from which neighbours are not connected, crop units. */
  jump: number;
  /** One per vertex, row by row; 0 is no surface. Not to be changed: later frames may be predicted from it. */
  levels: Uint16Array<ArrayBuffer>;
}

/** One face's expression in one picture. */
export interface Expression {
  index: number;
  captured: number;
  track: number;
  camera: Camera;
  /** Of the head: axis times angle, radians, head to camera. */
  rotation: number[];
  /** Millimetres. */
  translation: number[];
  /** 0 to 1, in the order of the names in `hello`. */
  coefficients: Float32Array;
}

/** A whole picture as JPEG (WebSocket only). */
export interface Picture {
  index: number;
  captured: number;
  width: number;
  height: number;
  jpeg: Uint8Array<ArrayBuffer>;
}

export function soundCamera(camera: Camera): boolean {
  const { fx, fy, cx, cy, width, height } = camera;
  return (
    [fx, fy].every((focal) => focal >= 1 && focal <= 1e6) &&
    [cx, cy].every((place) => Math.abs(place) <= 1e5) &&
    [width, height].every((side) => side >= 1 && side <= 32766)
  );
}
