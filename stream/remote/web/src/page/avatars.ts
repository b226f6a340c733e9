/** The card by which an avatar is chosen; the shipped one is loaded when avatars are first asked for. */

import { readAvatar } from "../view/avatar";
import { element, say } from "./dom";
import type { Player } from "./player";

const SHIPPED = "assets/avatar.glb";

export class AvatarCard {
  private loaded = false;

  constructor(private readonly player: Player) {
    const file = element("avatar-file", HTMLInputElement);
    file.addEventListener("change", () => {
      const [chosen] = file.files ?? [];
      if (chosen) void this.take(chosen.name, () => chosen.arrayBuffer());
    });
  }

  show(visible: boolean): void {
    element("avatar-card", HTMLElement).hidden = !visible;
    if (visible && !this.loaded) void this.take("The shipped avatar", fetchShipped);
  }

  private async take(name: string, load: () => Promise<ArrayBuffer>): Promise<void> {
    this.loaded = true;
    say("avatar-words", "Loading.");
    try {
      const model = await readAvatar(await load());
      this.player.cast(model);
      say("avatar-words", `${name}: ${describe(model.matched)}.`);
    } catch (error) {
      this.loaded = false;
      say("avatar-words", (error as Error).message, "bad");
    }
  }
}

function describe(matched: number): string {
  return matched ? `${matched} of ARKit's 52 expressions` : "no ARKit morph targets, only the head's pose follows";
}

async function fetchShipped(): Promise<ArrayBuffer> {
  const response = await fetch(SHIPPED).catch(() => null);
  if (!response?.ok) throw new Error("This server ships no avatar. Choose a model of your own.");
  return response.arrayBuffer();
}
