/** The eye that looks at the faces: mouse, touch and keyboard turn it, and it follows the heads. */

import { PerspectiveCamera, Spherical, Vector3, type Object3D } from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";

const FOV = 26;

/** What one head needs about the point between its eyes, metres: half of the width and height. */
const ROOM = { x: 0.135, y: 0.185 };

/** Heads reach further down than up from the eyes. */
const BELOW_EYES = 0.025;

const FOLLOW_MS = 350;
const STEP = Math.PI / 36;
const CLOSER = 0.9;

const KEYS: Record<string, [turn: number, tilt: number, closer: number]> = {
  ArrowLeft: [-STEP, 0, 1],
  ArrowRight: [STEP, 0, 1],
  ArrowUp: [0, -STEP, 1],
  ArrowDown: [0, STEP, 1],
  "+": [0, 0, CLOSER],
  "=": [0, 0, CLOSER],
  "-": [0, 0, 1 / CLOSER],
};

export class Orbit {
  readonly camera = new PerspectiveCamera(FOV, 1, 0.02, 20);

  private readonly controls: OrbitControls;
  private readonly pivot = new Vector3();
  private followed = -Infinity;
  private spread = 0;
  private aspect = 1;

  /**
   * @param world what is moved so that the heads stay in the middle.
   * @param changed called when the view was turned.
   */
  constructor(
    canvas: HTMLCanvasElement,
    private readonly world: Object3D,
    changed: () => void,
  ) {
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enablePan = false;
    this.controls.minDistance = 0.15;
    this.controls.maxDistance = 4;
    this.controls.target.set(0, -BELOW_EYES, 0);
    this.controls.addEventListener("change", changed);
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.key === "0" || event.key === "Home") this.reset();
      else if (KEYS[event.key]) this.turn(...KEYS[event.key]);
      else return;
      event.preventDefault();
      changed();
    });
    this.reset();
  }

  /** To the front, at a distance where all heads are seen. */
  reset(): void {
    this.camera.position.set(0, -BELOW_EYES, this.distance());
    this.controls.update();
  }

  resize(aspect: number): void {
    const before = this.distance();
    this.aspect = aspect;
    this.camera.aspect = aspect;
    this.camera.updateProjectionMatrix();
    this.scale(this.distance() / before);
  }

  /** @param heads where they are, glTF space, metres. */
  follow(heads: Vector3[], now: number): void {
    if (heads.length === 0) return;
    const middle = heads.reduce((sum, head) => sum.add(head), new Vector3()).divideScalar(heads.length);
    const elapsed = now - this.followed;
    const share = elapsed < 2000 ? 1 - Math.exp(-elapsed / FOLLOW_MS) : 1;
    this.pivot.lerp(middle, share);
    this.followed = now;
    this.world.position.copy(this.pivot).negate();
    const before = this.distance();
    const spread = Math.max(...heads.map((head) => Math.abs(head.x - middle.x)));
    // Only clear changes move the eye: heads always sway a little.
    if (Math.abs(spread - this.spread) > 0.05) {
      this.spread = spread;
      this.scale(this.distance() / before);
    }
  }

  private distance(): number {
    return Math.max(ROOM.y, (ROOM.x + this.spread) / this.aspect) / Math.tan((FOV * Math.PI) / 360);
  }

  private turn(turn: number, tilt: number, closer: number): void {
    const { target } = this.controls;
    const place = new Spherical().setFromVector3(this.camera.position.clone().sub(target));
    place.theta += turn;
    place.phi = Math.min(Math.max(place.phi + tilt, 0.1), Math.PI - 0.1);
    place.radius = Math.min(Math.max(place.radius * closer, this.controls.minDistance), this.controls.maxDistance);
    this.camera.position.setFromSpherical(place).add(target);
    this.controls.update();
  }

  private scale(factor: number): void {
    const { target } = this.controls;
    this.camera.position.sub(target).multiplyScalar(factor).add(target);
    this.controls.update();
  }
}
