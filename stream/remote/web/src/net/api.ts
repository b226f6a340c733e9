/** Requests to the server, and in plain words what it refuses. */

/** The server answered, and refused. */
export class ServerError extends Error {
  override name = "ServerError";

  constructor(
    message: string,
    readonly status: number,
    /** Seconds after which to try again, where the server tells. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }

  /** Trying again would give the same answer until the person does something. */
  get final(): boolean {
    return [400, 401, 403, 405, 406, 409, 413, 415].includes(this.status);
  }
}

/** The server did not answer. */
export class OfflineError extends Error {
  override name = "OfflineError";

  constructor() {
    super("The server cannot be reached.");
  }
}

export interface Call {
  method?: string;
  token: string;
  body?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** The request outlives the page. */
  keepalive?: boolean;
}

const SECONDS = 5;

/**
 * The answer to a request, which was a success.
 *
 * @throws ServerError the server refused; OfflineError it did not answer within some seconds.
 */
export async function request(path: string, call: Call): Promise<Response> {
  const { method = "GET", token, body, headers = {}, signal, keepalive = false } = call;
  // Tokens are visible ASCII: with another, the browser would refuse to send the request.
  if (/[^\x21-\x7e]/.test(token)) throw new ServerError(wordsFor(401, true, ""), 401);
  const limit = AbortSignal.timeout(SECONDS * 1000);
  const bearer: Record<string, string> = token ? { Authorization: `Bearer ${token}` } : {};
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      body,
      keepalive,
      headers: { ...headers, ...bearer },
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      cache: "no-store",
    });
  } catch {
    signal?.throwIfAborted();
    throw new OfflineError();
  }
  if (!response.ok) throw await refusal(response, token);
  return response;
}

async function refusal(response: Response, token: string): Promise<ServerError> {
  const told = (await response.text().catch(() => "")).trim().split("\n")[0].slice(0, 200);
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const retryAfter = Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 60) : null;
  return new ServerError(wordsFor(response.status, Boolean(token), told), response.status, retryAfter);
}

/** What a refusal means to the person in front of the page. */
export function wordsFor(status: number, hasToken: boolean, told: string): string {
  switch (status) {
    case 401:
      return hasToken ? "The server does not accept this token." : "This server asks for a token.";
    case 403:
      return "This token does not allow that. Ask the server's owner for another.";
    case 404:
      return "There is no such session.";
    case 409:
      return "A live session already has that name. Choose another one.";
    case 429:
      return "Too many tries in a short time.";
    case 503:
      return told.replace(/; try again.*/, ".") || "The server is full.";
    default:
      return told || `The server answered with status ${status}.`;
  }
}

export interface SessionEntry {
  name: string;
  state: string;
  viewers: number;
}

/** The sessions that can be watched. */
export async function listSessions(token: string, signal?: AbortSignal): Promise<SessionEntry[]> {
  const answer: unknown = await jsonOf(await request("sessions", { token, signal }));
  const list = (answer as { sessions?: unknown } | null)?.sessions;
  if (!Array.isArray(list)) return [];
  return list
    .filter((entry) => typeof entry?.name === "string" && /^[a-z0-9-]{1,64}$/.test(entry.name))
    .map(({ name, state, viewers }) => ({ name, state: String(state), viewers: Number(viewers) || 0 }));
}

/** The servers by which peers find each other, as RTCPeerConnection takes them. */
export async function iceServers(token: string, signal?: AbortSignal): Promise<RTCIceServer[]> {
  const answer: unknown = await jsonOf(await request("config", { token, signal }));
  const servers = (answer as { ice_servers?: unknown } | null)?.ice_servers;
  return Array.isArray(servers) ? (servers as RTCIceServer[]) : [];
}

async function jsonOf(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch {
    throw new ServerError("The server's answer is no JSON. Is this page from another server?", response.status);
  }
}
