/** The stage: all faces of a session, drawn when something changed. */

import { DirectionalLight, Group, HemisphereLight, Scene, WebGLRenderer, type Texture } from "three";

import type { Expression, Surface } from "../protocol/types";
import { Avatar, type AvatarModel } from "./avatar";
import { Orbit } from "./orbit";
import { SurfaceMesh, type Mode } from "./surface";

/** A face that is not heard of for this long while others are is gone. */
const GONE_MS = 1000;

interface Seen<Face> {
  face: Face;
  at: number;
}

export class Stage {
  readonly renderer: WebGLRenderer;
  readonly orbit: Orbit;

  private mode: Mode = "textured";
  private readonly scene = new Scene();
  private readonly world = new Group();
  private readonly surfaces = new Map<number, Seen<SurfaceMesh>>();
  private readonly avatars = new Map<number, Seen<Avatar>>();
  private model: AvatarModel | null = null;
  private dirty = true;
  private newest = 0;

  /** @throws Error the browser has no WebGL2. */
  constructor(private readonly canvas: HTMLCanvasElement) {
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.orbit = new Orbit(canvas, this.world, () => (this.dirty = true));
    const key = new DirectionalLight(0xfff4e8, 2.2);
    key.position.set(-0.5, 0.6, 0.7);
    const fill = new DirectionalLight(0xbfd4ff, 0.7);
    fill.position.set(0.9, -0.1, 0.5);
    this.scene.add(this.world, key, fill, new HemisphereLight(0xdfe8ff, 0x38302a, 0.9));
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  get faces(): number {
    return this.surfaces.size + this.avatars.size;
  }

  showSurface(lane: number, surface: Surface, picture: Texture | null, now: number): void {
    let seen = this.surfaces.get(lane);
    if (!seen) {
      seen = { face: new SurfaceMesh(), at: now };
      this.surfaces.set(lane, seen);
      this.world.add(seen.face.mesh);
    }
    seen.face.show(surface, picture, this.mode);
    this.heard(seen, now);
  }

  showExpression(lane: number, expression: Expression, names: readonly string[], now: number): void {
    if (!this.model) return;
    let seen = this.avatars.get(lane);
    if (!seen) {
      seen = { face: new Avatar(this.model), at: now };
      this.avatars.set(lane, seen);
      this.world.add(seen.face.root);
    }
    seen.face.show(expression, names);
    this.heard(seen, now);
  }

  /** How surfaces are shown from now on, those that are there too. */
  paint(mode: Mode): void {
    this.mode = mode;
    for (const { face } of this.surfaces.values()) face.paint(mode);
    this.dirty = true;
  }

  /** Faces are avatars of this model from now on. */
  cast(model: AvatarModel): void {
    this.clear();
    this.model = model;
  }

  clear(): void {
    for (const lane of [...this.surfaces.keys()]) this.removeSurface(lane);
    for (const lane of [...this.avatars.keys()]) this.removeAvatar(lane);
  }

  /** @returns whether something was drawn. */
  draw(now: number): boolean {
    if (!this.dirty) return false;
    const gone = this.newest - GONE_MS;
    for (const [lane, { at }] of this.surfaces) if (at < gone) this.removeSurface(lane);
    for (const [lane, { at }] of this.avatars) if (at < gone) this.removeAvatar(lane);
    const heads = [...this.surfaces.values(), ...this.avatars.values()].map(({ face }) => face.head);
    this.orbit.follow(heads, now);
    this.renderer.render(this.scene, this.orbit.camera);
    this.dirty = false;
    return true;
  }

  private heard(seen: Seen<unknown>, now: number): void {
    seen.at = this.newest = now;
    this.dirty = true;
  }

  private removeSurface(lane: number): void {
    const { face } = this.surfaces.get(lane)!;
    this.surfaces.delete(lane);
    this.world.remove(face.mesh);
    face.dispose();
    this.dirty = true;
  }

  private removeAvatar(lane: number): void {
    // Geometry and materials belong to the model, which stays.
    this.world.remove(this.avatars.get(lane)!.face.root);
    this.avatars.delete(lane);
    this.dirty = true;
  }

  private resize(): void {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.setSize(width, height, false);
    this.orbit.resize(width / height);
    this.dirty = true;
  }
}
