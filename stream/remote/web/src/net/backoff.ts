/** How long to wait before the next try: short at first, so that a server's restart is hardly seen. */
export function backoff(attempt: number, retryAfter: number | null = null): number {
  const wait = attempt < 60 ? Math.min(250 * 1.3 ** attempt, 700) : 3000;
  return Math.max(wait, (retryAfter ?? 0) * 1000);
}

/** @throws the signal's reason, where it is aborted meanwhile. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const aborted = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", aborted);
      resolve();
    }, milliseconds);
    if (signal.aborted) aborted();
    else signal.addEventListener("abort", aborted, { once: true });
  });
}
