/** `window.prosopon`: what the page does, to be read by tests and measurements. */

import type { Player } from "./player";
import type { SendCard } from "./send";

export function exposeProbe(player: Player, send: SendCard): void {
  const read = () =>
    Object.freeze({
      view: {
        state: player.state,
        words: player.words,
        session: player.viewer?.name ?? null,
        transport: player.viewer?.link?.transport ?? null,
        mode: player.mode,
        connections: player.connections,
        faces: player.stage.faces,
        viewers: player.viewer?.session?.viewers ?? 0,
        received: player.viewer?.receiver?.messages ?? 0,
        lost: player.viewer?.receiver?.lost ?? 0,
        skipped: player.skipped,
        shown: player.shownCount,
        ...player.figures,
        /** The last ones, see `Shown` in player.ts. */
        frames: player.frames.map((frame) => ({ ...frame })),
      },
      send: { state: send.state, words: send.words, session: send.session },
    });
  Object.defineProperty(window, "prosopon", { get: read });
}
