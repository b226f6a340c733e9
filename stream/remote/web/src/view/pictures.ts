/** The last pictures of the video track or of texture messages, kept on the GPU until their surfaces have come. */

import { LinearFilter, NoColorSpace, Texture, type WebGLRenderer } from "three";

import { mediaTime } from "../protocol/clock";
import type { Picture } from "../protocol/types";
import type { Shot } from "./presenter";

const KEPT = 10;

export interface TexturedShot extends Shot {
  texture: Texture;
}

export class Pictures {
  /** The oldest first. */
  readonly shots: TexturedShot[] = [];
  /** Media time by RTP timestamp, as the server told. */
  timeOf: (rtpTimestamp: number | undefined) => number | null = () => null;

  private stream: MediaStream | null = null;
  private next: Picture | null = null;
  private decoding = false;
  private readonly spare: Texture[] = [];

  /** @param video an element that plays what comes; it is not shown itself. */
  constructor(
    private readonly renderer: WebGLRenderer,
    private readonly video: HTMLVideoElement,
  ) {
    this.awaitFrame();
  }

  /** Take pictures from this video from now on. */
  play(stream: MediaStream | null): void {
    this.stream = stream;
    this.video.srcObject = stream;
    if (stream) this.video.play().catch(() => {}); // muted: only refused where the stream was replaced meanwhile
    this.clear();
  }

  /** Take a picture that came as a message. */
  async decode(picture: Picture): Promise<void> {
    this.next = picture;
    if (this.decoding) return; // where decoding is slow, the newest one waits and those before are left out
    this.decoding = true;
    for (let taken: Picture | null = picture; taken; taken = this.next) {
      this.next = null;
      const image = await createImageBitmap(new Blob([taken.jpeg], { type: "image/jpeg" })).catch(() => null);
      if (!image) continue;
      this.keep(image, image.width, image.height, mediaTime(taken.captured));
      image.close();
    }
    this.decoding = false;
  }

  clear(): void {
    this.spare.push(...this.shots.splice(0).map(({ texture }) => texture));
  }

  private awaitFrame(): void {
    this.video.requestVideoFrameCallback((_, { rtpTimestamp, width, height }) => {
      if (this.stream && width && height) {
        Object.assign(this.video, { width, height }); // by which three.js sizes the texture
        this.keep(this.video, width, height, this.timeOf(rtpTimestamp));
      }
      this.awaitFrame();
    });
  }

  private keep(image: HTMLVideoElement | ImageBitmap, width: number, height: number, time: number | null): void {
    const texture = this.textureFor(width, height);
    texture.image = image;
    texture.needsUpdate = true;
    this.renderer.initTexture(texture); // uploads now: a moment later the video shows another picture
    this.shots.push({ texture, time, arrived: performance.now() });
  }

  /** The oldest picture's texture, where it is of that size, or a new one. */
  private textureFor(width: number, height: number): Texture {
    if (this.shots.length >= KEPT) this.spare.push(this.shots.shift()!.texture);
    const spare = this.spare.pop();
    if (spare && spare.userData.width === width && spare.userData.height === height) return spare;
    spare?.dispose();
    const texture = new Texture();
    texture.colorSpace = NoColorSpace; // the shader passes colours through as they are
    texture.minFilter = texture.magFilter = LinearFilter;
    texture.generateMipmaps = false;
    texture.flipY = false;
    texture.userData = { width, height };
    return texture;
  }
}
