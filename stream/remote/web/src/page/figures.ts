/** The panel of figures. */

import { element, put } from "./dom";
import type { Player } from "./player";

const NONE = "–";

export function showFigures(player: Player): void {
  const { viewer, figures, skipped } = player;
  const { link, receiver, session } = viewer ?? {};
  const live = player.state === "live";
  const latency = live && figures.latency !== null ? `${Math.round(figures.latency)} ms` : NONE;
  put("fig-fps", live ? String(figures.fps) : NONE);
  put("fig-latency", latency);
  put("fig-drops", receiver ? `${receiver.lost} lost, ${skipped} skipped` : NONE);
  put("fig-rate", link ? `${((figures.dataRate + figures.videoRate) / 1e6).toFixed(2)} Mbit/s` : NONE);
  put("fig-transport", link ? (link.transport === "webrtc" ? "WebRTC" : "WebSocket") : NONE);
  put("fig-people", session ? `${session.faces}, ${session.viewers}` : NONE);
  element("badge", HTMLElement).hidden = !live;
  put("badge", `${figures.fps} fps · ${latency}`);
}
