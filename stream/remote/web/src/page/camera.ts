/** The device's cameras. */

const SIZE = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30, max: 30 } };

/** The camera cannot be had; the message says why and what to do. */
export class CameraError extends Error {
  override name = "CameraError";
}

/**
 * Ask for a camera.
 *
 * @param device its id; empty for the device's default, which on a phone is the one that sees the user.
 * @throws CameraError it was refused, is not there or does not work.
 */
export async function openCamera(device: string): Promise<MediaStreamTrack> {
  if (!navigator.mediaDevices) {
    throw new CameraError("Browsers give cameras to secure pages only. Open this page by https or on this machine.");
  }
  const choice = device ? { deviceId: { exact: device } } : { facingMode: "user" };
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { ...SIZE, ...choice }, audio: false });
    const [track] = stream.getVideoTracks();
    track.contentHint = "motion";
    return track;
  } catch (error) {
    throw new CameraError(cameraWords((error as Error).name));
  }
}

export function cameraWords(reason: string): string {
  switch (reason) {
    case "NotAllowedError":
    case "SecurityError":
      return "The camera was refused. Allow it for this page in the browser's address bar, then start again.";
    case "NotFoundError":
      return "No camera was found. Connect one, then start again.";
    case "NotReadableError":
    case "AbortError":
      return "The camera does not start. Another program may be using it; close that, then start again.";
    case "OverconstrainedError":
      return "This camera is not there any more. Choose another one.";
    default:
      return "The camera cannot be used by this browser.";
  }
}

/** The cameras; their labels are empty until the person has allowed one. */
export async function listCameras(): Promise<MediaDeviceInfo[]> {
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
  return devices.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId);
}
