/** A rig that expressions drive: any GLB with morph targets by ARKit's names. */

import { Box3, Group, Matrix4, Mesh, Vector3, type Object3D } from "three";
import { GLTFLoader } from "three/examples/jsm/loaders/GLTFLoader.js";
import { clone } from "three/examples/jsm/utils/SkeletonUtils.js";

import type { Expression } from "../protocol/types";
import { ARKIT_NAMES } from "./arkit";

/** Largest file taken, bytes. */
export const MAX_BYTES = 64 * 2 ** 20;

/** Sizes that a head in metres may have; others are scaled to `HEAD`. */
const HEAD_SIZES = [0.15, 0.6];
const HEAD = 0.3;

/** Turns glTF's axes into the camera's and back. */
const FLIP = new Matrix4().makeScale(1, -1, -1);

/** The drawable parts of a loaded file, to be copied for each face. */
export class AvatarModel {
  constructor(
    readonly scene: Object3D,
    /** How many of the morph targets have ARKit's names. */
    readonly matched: number,
  ) {}
}

/** @throws Error the file is no GLB that can be read; the message is one plain sentence. */
export async function readAvatar(data: ArrayBuffer): Promise<AvatarModel> {
  if (data.byteLength > MAX_BYTES) throw new Error("This file is larger than 64 MB.");
  let scene: Object3D;
  try {
    scene = (await new GLTFLoader().parseAsync(data, "")).scene;
  } catch {
    throw new Error("This file is no GLB that can be read.");
  }
  fit(scene);
  const known = new Set(ARKIT_NAMES.map((name) => name.toLowerCase()));
  const matched = new Set<string>();
  scene.traverse((node) => {
    node.frustumCulled = false; // morphs and poses move parts out of their own bounds
    for (const target of targetsOf(node).keys()) if (known.has(target)) matched.add(target);
  });
  return new AvatarModel(scene, matched.size);
}

/** One face's avatar. */
export class Avatar {
  readonly root = new Group();
  readonly head = new Vector3();
  private readonly parts: { influences: number[]; targets: Map<string, number[]> }[] = [];

  constructor(model: AvatarModel) {
    this.root.matrixAutoUpdate = false;
    this.root.add(clone(model.scene));
    this.root.traverse((node) => {
      const influences = (node as Mesh).morphTargetInfluences;
      if (influences) this.parts.push({ influences, targets: targetsOf(node) });
    });
  }

  show(expression: Expression, names: readonly string[]): void {
    names.forEach((name, i) => {
      const value = expression.coefficients[i] ?? 0;
      for (const { influences, targets } of this.parts) {
        for (const place of targets.get(name.toLowerCase()) ?? []) influences[place] = value;
      }
    });
    const [x, y, z] = expression.translation;
    this.head.set(x, -y, -z).divideScalar(1000);
    const turn = new Vector3().fromArray(expression.rotation);
    const angle = turn.length();
    this.root.matrix.identity();
    if (angle > 1e-9) this.root.matrix.makeRotationAxis(turn.divideScalar(angle), angle);
    this.root.matrix.premultiply(FLIP).multiply(FLIP).setPosition(this.head);
    this.root.matrixWorldNeedsUpdate = true;
  }
}

/** Places of a node's morph targets by ARKit's name in lower case; `Face.browInnerUp_L` is browInnerUp, too. */
function targetsOf(node: Object3D): Map<string, number[]> {
  const targets = new Map<string, number[]>();
  for (const [name, place] of Object.entries((node as Mesh).morphTargetDictionary ?? {})) {
    for (const known of arkitNames(name)) targets.set(known, [...(targets.get(known) ?? []), place]);
  }
  return targets;
}

/** ARKit's names, in lower case, that a morph target of another naming may stand for. */
export function arkitNames(name: string): string[] {
  const own = name.split(".").at(-1)!.toLowerCase();
  const side = /^(.*)_([lr])$/.exec(own);
  if (!side) return [own];
  return [side[1] + (side[2] === "l" ? "left" : "right"), side[1]];
}

/** Heads in metres about their middle stay as they are; anything else is brought to a head's size and place. */
function fit(scene: Object3D): void {
  const box = new Box3().setFromObject(scene);
  const size = box.getSize(new Vector3()).y;
  if (size > HEAD_SIZES[0] && size < HEAD_SIZES[1] && box.containsPoint(new Vector3())) return;
  const scale = HEAD / (size || 1);
  scene.scale.multiplyScalar(scale);
  scene.position.addScaledVector(box.getCenter(new Vector3()), -scale);
}
