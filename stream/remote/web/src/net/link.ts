/** A connection by which a session is watched: WebRTC, or a WebSocket where that fails. */

export interface LinkEvents {
  datagram(data: Uint8Array): void;
  control(text: string): void;
  /** The video track, once, where there is one. */
  video(stream: MediaStream): void;
  /** The connection is over; at most once, not after `close()`. */
  closed(reason: Error): void;
}

export interface Link {
  readonly transport: "webrtc" | "websocket";
  send(text: string): void;
  close(): void;
  /** Bytes of video received since the start. */
  videoBytes(): Promise<number>;
}
