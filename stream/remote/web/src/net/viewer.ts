/** Watches one session: connects, keeps the connection, comes back when it breaks. */

import { ServerClock } from "../protocol/clock";
import { readMessage, type FromViewer, type State } from "../protocol/messages";
import { Receiver } from "../protocol/receiver";
import type { Expression, Picture, Surface } from "../protocol/types";
import { iceServers, listSessions, OfflineError, ServerError } from "./api";
import { backoff, pause } from "./backoff";
import type { Link } from "./link";
import { watchByWebRtc } from "./webrtc_link";
import { watchByWebSocket } from "./websocket_link";

export type ViewState = "connecting" | "live" | "waiting" | "reconnecting" | "failed" | "stopped";

export interface ViewerEvents {
  state(state: ViewState, words: string): void;
  /** A new connection: sequences begin again, what waits is of no use. */
  connected(transport: Link["transport"], expressions: string[]): void;
  surface(lane: number, sequence: number, surface: Surface): void;
  expression(lane: number, sequence: number, expression: Expression): void;
  picture(picture: Picture): void;
  video(stream: MediaStream | null): void;
}

export interface Wants {
  mesh: boolean;
  expression: boolean;
}

const PING_MS = 500;

/**
 * Without a sign of life for this long the connection is given up: pongs come twice a second. Beats are counted, not the clock:
 * where the page itself was held up, what came meanwhile waits to be read.
 */
const SILENCE_MS = { live: 2500, quiet: 3500 };

/** WebRTC that found no way is tried again after this long. */
const RETRY_WEBRTC_MS = 60_000;

const KEY_REQUEST_MS = 300;

export class Viewer {
  /** Of the newest connection: a server that was started anew has a clock of its own. */
  clock = new ServerClock();
  receiver: Receiver | null = null;
  link: Link | null = null;
  /** As the server told last. */
  session: State | null = null;
  /** RTP timestamp of a picture = its media time + this; null until the server tells. */
  rtpOffset: number | null = null;
  /** For the report: meshes shown, and the last second's median latency. */
  shown: () => { count: number; latency: number | null } = () => ({ count: 0, latency: null });

  private readonly stopping = new AbortController();
  private webRtcFailed = -Infinity;
  private silence = 0;
  private askedForKey = 0;
  private everLive = false;

  constructor(
    readonly name: string,
    private readonly token: string,
    private readonly onlyWebSocket: boolean,
    private wants: Wants,
    private readonly events: ViewerEvents,
  ) {
    void this.run();
  }

  /** Change what the server sends. */
  subscribe(wants: Wants): void {
    this.wants = wants;
    if (this.link) this.send({ type: "subscribe", ...wants, texture: this.link.transport === "websocket" && wants.mesh });
  }

  stop(): void {
    this.stopping.abort();
    this.link?.close();
    this.events.video(null);
    this.events.state("stopped", "");
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    for (let attempt = 0; !signal.aborted; attempt++) {
      let wait = backoff(attempt);
      try {
        this.events.state(this.everLive ? "reconnecting" : "connecting", this.everLive ? "Connecting again." : "Connecting.");
        await this.lookForSession();
        await this.watch(() => (attempt = 0));
      } catch (error) {
        if (signal.aborted) return;
        this.leave();
        if (error instanceof ServerError && error.final) return this.events.state("failed", error.message);
        wait = backoff(attempt, error instanceof ServerError ? error.retryAfter : null);
        this.tell(error as Error, wait);
      }
      await pause(wait, signal).catch(() => {});
    }
  }

  private tell(error: Error, wait: number): void {
    const again = wait > 1500 ? ` Trying again in ${Math.ceil(wait / 1000)} s.` : " Trying again.";
    const missing = error instanceof ServerError && error.status === 404;
    const words = missing ? `Waiting for the session “${this.name}” to begin.` : error.message + again;
    this.events.state(this.everLive || !missing ? "reconnecting" : "waiting", words);
  }

  /** A look at the list is cheap; offers are limited in number. */
  private async lookForSession(): Promise<void> {
    const sessions = await listSessions(this.token, this.stopping.signal);
    if (!sessions.some(({ name }) => name === this.name)) throw new ServerError("There is no such session.", 404);
  }

  /** One connection, until it ends; always by an exception. */
  private async watch(opened: () => void): Promise<never> {
    let end: (reason: Error) => void = () => {};
    const ended = new Promise<never>((_, reject) => (end = reject));
    ended.catch(() => {}); // it may end while the connection is still being made
    this.rtpOffset = null;
    this.clock = new ServerClock();
    const link = await this.connect(end);
    this.link = link;
    this.silence = 0;
    opened();
    this.subscribe(this.wants);
    const timers = [
      setInterval(() => this.beat(end), PING_MS),
      setInterval(() => this.report(), 1000),
    ];
    for (let soon = 0; soon < 4; soon++) timers.push(window.setTimeout(() => this.ping(), soon * 60));
    try {
      return await ended;
    } finally {
      timers.forEach(clearInterval);
      link.close();
    }
  }

  private async connect(end: (reason: Error) => void): Promise<Link> {
    const { signal } = this.stopping;
    const receive = (transport: Link["transport"]) => {
      const receiver = new Receiver(transport === "websocket", this.events);
      this.receiver = receiver;
      return {
        datagram: (data: Uint8Array) => {
          this.silence = 0;
          receiver.accept(data);
          if (receiver.needsKey) this.askForKey();
        },
        control: (text: string) => this.control(text, transport, end),
        video: (stream: MediaStream) => this.events.video(stream),
        closed: end,
      };
    };
    const tryWebRtc = !this.onlyWebSocket && performance.now() - this.webRtcFailed > RETRY_WEBRTC_MS;
    if (tryWebRtc) {
      try {
        const servers = await iceServers(this.token, signal);
        return await watchByWebRtc(this.name, this.token, servers, receive("webrtc"), signal);
      } catch (error) {
        // Whatever else went wrong is WebRTC's: ICE found no way, the browser or its owner does not allow it, ...
        if (signal.aborted || error instanceof ServerError || error instanceof OfflineError) throw error;
        this.webRtcFailed = performance.now();
        this.events.state(this.everLive ? "reconnecting" : "connecting", "WebRTC does not work here; trying a WebSocket.");
      }
    }
    return watchByWebSocket(this.name, this.token, receive("websocket"), signal);
  }

  private control(text: string, transport: Link["transport"], end: (reason: Error) => void): void {
    this.silence = 0;
    let message;
    try {
      message = readMessage(text);
    } catch (error) {
      return end(error as Error);
    }
    if (message?.type === "hello") this.events.connected(transport, message.expressions);
    if (message?.type === "clock") this.rtpOffset = message.rtp;
    if (message?.type === "pong") this.clock.pong(message.time, performance.now(), message.server);
    if (message?.type === "state") this.changed(message, end);
  }

  private changed(state: State, end: (reason: Error) => void): void {
    this.session = state;
    if (state.state === "ended") return end(new Error("The sender has stopped."));
    this.everLive = true;
    const words = state.state === "live" ? (state.faces ? "Live." : "Live, but no face is in the picture.") : "No picture comes.";
    this.events.state(state.state, words);
  }

  private beat(end: (reason: Error) => void): void {
    this.ping();
    this.silence += PING_MS;
    const allowed = this.session?.state === "live" && this.wants.mesh ? SILENCE_MS.live : SILENCE_MS.quiet;
    if (this.silence > allowed) end(new OfflineError());
  }

  private ping(): void {
    this.send({ type: "ping", time: performance.now() });
  }

  private report(): void {
    if (!this.receiver) return;
    const { count, latency } = this.shown();
    const { messages: received, lost } = this.receiver;
    this.send({ type: "report", received, lost, shown: count, latency_ms: latency });
  }

  private askForKey(): void {
    const now = performance.now();
    if (now - this.askedForKey < KEY_REQUEST_MS) return;
    this.askedForKey = now;
    this.send({ type: "key" });
  }

  private send(message: FromViewer): void {
    this.link?.send(JSON.stringify(message));
  }

  private leave(): void {
    this.link?.close();
    this.link = null;
    this.session = null;
    this.events.video(null);
  }
}

/** The media time of a video frame, by its RTP timestamp; null where the two cannot be told apart. */
export function frameTime(rtpTimestamp: number | undefined, offset: number | null): number | null {
  if (rtpTimestamp === undefined || offset === null) return null;
  return (rtpTimestamp - offset + 2 ** 32) % 2 ** 32;
}

