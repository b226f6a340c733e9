/** What the page's address tells after its #, where servers do not see it: session, token, transport. */

const TOKEN = "prosopon.token";

export interface Address {
  session: string | null;
  onlyWebSocket: boolean;
}

export const NAME = /^[a-z0-9-]{1,64}$/;

/** What stands behind the #; a plus is one, as tokens in base64 have it. */
function parts(): URLSearchParams {
  return new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"));
}

/** Read the address; a token goes to the tab's storage and out of the address, so that it is not shared with it. */
export function readAddress(): Address {
  const found = parts();
  const token = found.get("token");
  if (token !== null) {
    storeToken(token);
    found.delete("token");
    writeParts(found);
  }
  const session = found.get("session");
  return {
    session: session !== null && NAME.test(session) ? session : null,
    onlyWebSocket: found.get("transport") === "ws",
  };
}

/** Name the session in the address, so that a reload comes back to it. */
export function writeSession(session: string | null): void {
  const found = parts();
  if (session === null) found.delete("session");
  else found.set("session", session);
  writeParts(found);
}

/** The page's address for those who shall watch the session. */
export function linkTo(session: string): string {
  const link = new URL(location.href);
  link.hash = new URLSearchParams({ session }).toString();
  return link.href;
}

export function readToken(): string {
  return sessionStorage.getItem(TOKEN) ?? "";
}

export function storeToken(token: string): void {
  if (token) sessionStorage.setItem(TOKEN, token);
  else sessionStorage.removeItem(TOKEN);
}

function writeParts(found: URLSearchParams): void {
  const hash = found.toString();
  history.replaceState(null, "", location.pathname + location.search + (hash ? `#${hash}` : ""));
}
