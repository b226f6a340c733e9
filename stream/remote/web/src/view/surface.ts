/** One face's surface as three.js draws it: the mesh is made in the vertex shader from a texture of depth levels. */

import {
  BufferGeometry,
  DataTexture,
  DoubleSide,
  GLSL3,
  Mesh,
  RawShaderMaterial,
  RedIntegerFormat,
  Sphere,
  UnsignedShortType,
  Vector2,
  Vector3,
  Vector4,
  type Texture,
} from "three";

import type { Surface } from "../protocol/types";
import fragmentShader from "./shaders/surface.frag.glsl";
import vertexShader from "./shaders/surface.vert.glsl";

/** What the shader can show, in the order of its `mode`. */
export const MODES = ["textured", "lit", "normals", "wire"] as const;

export type Mode = (typeof MODES)[number];

export class SurfaceMesh {
  readonly mesh: Mesh<BufferGeometry, RawShaderMaterial>;
  /** Between the eyes, glTF space, metres. */
  readonly head = new Vector3();

  private levels = levelTexture(2);
  private readonly uniforms = {
    levels: { value: this.levels },
    size: { value: 2 },
    depths: { value: new Vector3() },
    lens: { value: new Vector4() },
    picture: { value: new Vector2(1, 1) },
    crop: { value: new Vector4() },
    away: { value: 1 },
    colours: { value: null as Texture | null },
    mode: { value: 0 },
    hasPicture: { value: false },
  };

  constructor() {
    const geometry = new BufferGeometry();
    geometry.boundingSphere = new Sphere(new Vector3(), Infinity);
    const material = new RawShaderMaterial({
      uniforms: this.uniforms,
      vertexShader,
      fragmentShader,
      glslVersion: GLSL3,
      side: DoubleSide,
    });
    this.mesh = new Mesh(geometry, material);
    this.mesh.frustumCulled = false;
  }

  show(surface: Surface, picture: Texture | null, mode: Mode): void {
    const { size, bits, low, high, jump, camera, crop, pose } = surface;
    if (this.levels.image.width !== size) {
      this.levels.dispose();
      this.levels = this.uniforms.levels.value = levelTexture(size);
      this.mesh.geometry.setDrawRange(0, 6 * (size - 1) ** 2);
    }
    this.levels.image.data = surface.levels;
    this.levels.needsUpdate = true;
    const { uniforms } = this;
    uniforms.size.value = size;
    uniforms.depths.value.set(low, (high - low) / (2 ** bits - 2), jump);
    uniforms.lens.value.set(camera.fx, camera.fy, camera.cx, camera.cy);
    uniforms.picture.value.set(camera.width, camera.height);
    uniforms.crop.value.set(crop.x, crop.y, crop.half, crop.angle);
    uniforms.away.value = pose[11];
    this.head.set(pose[3], -pose[7], -pose[11]).divideScalar(1000);
    uniforms.colours.value = picture;
    uniforms.hasPicture.value = picture !== null;
    this.paint(mode);
  }

  paint(mode: Mode): void {
    this.uniforms.mode.value = MODES.indexOf(mode);
  }

  dispose(): void {
    this.levels.dispose();
    this.mesh.geometry.dispose();
    this.mesh.material.dispose();
  }
}

function levelTexture(size: number): DataTexture {
  const texture = new DataTexture(new Uint16Array(size * size), size, size, RedIntegerFormat, UnsignedShortType);
  texture.internalFormat = "R16UI";
  texture.unpackAlignment = 1; // rows of odd sizes are no multiple of four bytes
  return texture;
}
