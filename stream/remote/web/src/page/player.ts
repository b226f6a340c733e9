/** A session on the stage: what comes is shown, matched and measured. */

import { Viewer, frameTime, type ViewerEvents, type ViewState } from "../net/viewer";
import { median } from "../protocol/clock";
import type { Expression } from "../protocol/types";
import type { AvatarModel } from "../view/avatar";
import { Pictures } from "../view/pictures";
import { Presenter } from "../view/presenter";
import { Stage } from "../view/scene";
import type { Mode } from "../view/surface";

/** Frames remembered for the figures. */
const REMEMBERED = 600;

/** A face in a frame that was shown. */
export interface Shown {
  /** Counts the connections: sequences begin again with each. */
  connection: number;
  lane: number;
  sequence: number;
  index: number;
  /** Microseconds since 1970 on the server's clock. */
  captured: number;
  /** Milliseconds on the page's clock. */
  at: number;
  /** Capture to shown, milliseconds; null before the clocks were compared. */
  latency: number | null;
  /** It was shown with its own picture. */
  exact: boolean;
}

export interface Figures {
  fps: number;
  latency: number | null;
  /** Bits per second. */
  dataRate: number;
  videoRate: number;
}

export class Player {
  viewer: Viewer | null = null;
  state: ViewState | "idle" = "idle";
  words = "";
  connections = 0;
  shownCount = 0;
  frames: Shown[] = [];
  figures: Figures = { fps: 0, latency: null, dataRate: 0, videoRate: 0 };
  names: readonly string[] = [];
  /** Called on every change of state, and once a second. */
  changed: () => void = () => {};

  readonly stage: Stage;
  private readonly presenter = new Presenter();
  private readonly pictures: Pictures;
  private readonly expressions = new Map<number, { sequence: number; expression: Expression }>();
  private look: Mode | "avatar" = "textured";
  private lastBytes = { data: 0, video: 0 };
  private readonly events: ViewerEvents = {
    state: (state, words) => this.tell(state, words),
    connected: (_, names) => this.connected(names),
    surface: (...face) => this.look !== "avatar" && this.presenter.offer(...face, performance.now()),
    expression: (lane, sequence, expression) =>
      this.look === "avatar" && this.expressions.set(lane, { sequence, expression }),
    picture: (picture) => void this.pictures.decode(picture),
    video: (stream) => this.pictures.play(stream),
  };

  constructor(canvas: HTMLCanvasElement, video: HTMLVideoElement) {
    this.stage = new Stage(canvas);
    this.pictures = new Pictures(this.stage.renderer, video);
    this.pictures.timeOf = (timestamp) => frameTime(timestamp, this.viewer?.rtpOffset ?? null);
    requestAnimationFrame(this.draw);
    setInterval(() => void this.measure(), 1000);
  }

  get mode(): Mode | "avatar" {
    return this.look;
  }

  get skipped(): number {
    return this.presenter.skipped;
  }

  watch(session: string, token: string, onlyWebSocket: boolean): void {
    this.stop();
    this.stage.clear();
    this.viewer = new Viewer(session, token, onlyWebSocket, this.wants(), this.events);
    this.viewer.shown = () => ({ count: this.shownCount, latency: this.figures.latency });
  }

  stop(): void {
    this.viewer?.stop();
    this.viewer = null;
    this.presenter.clear();
    this.expressions.clear();
  }

  show(mode: Mode | "avatar"): void {
    const before = this.look;
    this.look = mode;
    if (mode !== "avatar") this.stage.paint(mode);
    if ((mode === "avatar") !== (before === "avatar")) {
      this.presenter.clear();
      this.expressions.clear();
      this.stage.clear();
      this.viewer?.subscribe(this.wants());
    }
  }

  cast(model: AvatarModel): void {
    this.stage.cast(model);
  }

  private tell(state: ViewState, words: string): void {
    this.state = state;
    this.words = words;
    if (state === "live" && this.viewer?.session?.faces === 0) this.stage.clear();
    this.changed();
  }

  private connected(names: string[]): void {
    this.connections += 1;
    this.names = names;
    this.lastBytes = { data: 0, video: 0 };
    this.presenter.clear();
    this.pictures.clear();
  }

  private wants() {
    return { mesh: this.look !== "avatar", expression: this.look === "avatar" };
  }

  private readonly draw = (): void => {
    requestAnimationFrame(this.draw);
    const now = performance.now();
    const shown: Omit<Shown, "at" | "latency" | "connection">[] = [];
    for (const ready of this.presenter.due(this.pictures.shots, this.look === "textured", now)) {
      const { lane, sequence, surface, picture, exact } = ready;
      this.stage.showSurface(lane, surface, picture?.texture ?? null, now);
      shown.push({ lane, sequence, index: surface.index, captured: surface.captured, exact });
    }
    for (const [lane, { sequence, expression }] of this.expressions) {
      this.stage.showExpression(lane, expression, this.names, now);
      shown.push({ lane, sequence, index: expression.index, captured: expression.captured, exact: false });
    }
    this.expressions.clear();
    if (this.stage.draw(now)) shown.forEach((frame) => this.remember(frame));
  };

  private remember(frame: Omit<Shown, "at" | "latency" | "connection">): void {
    const at = performance.now();
    const latency = this.viewer?.clock.since(frame.captured, at) ?? null;
    this.frames.push({ ...frame, connection: this.connections, at, latency });
    this.frames.splice(0, this.frames.length - REMEMBERED);
    this.shownCount += 1;
  }

  private async measure(): Promise<void> {
    const since = performance.now() - 1000;
    const recent = this.frames.filter(({ at }) => at > since);
    const latencies = recent.flatMap(({ latency }) => latency ?? []);
    const data = this.viewer?.receiver?.bytes ?? 0;
    const video = (await this.viewer?.link?.videoBytes()) ?? 0;
    this.figures = {
      fps: new Set(recent.map(({ at }) => Math.round(at))).size,
      latency: median(latencies),
      dataRate: Math.max(data - this.lastBytes.data, 0) * 8,
      videoRate: Math.max(video - this.lastBytes.video, 0) * 8,
    };
    this.lastBytes = { data, video };
    this.changed();
  }
}
