/** Threads need cross-origin isolation; a service worker adds the headers that plain file servers do not send. */

const PATIENCE = 5000; // ms
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Register it and reload once under it. False: the page goes on as it is, with one thread. */
export async function isolated(): Promise<boolean> {
  if (self.crossOriginIsolated) return true;
  if (!window.isSecureContext || !('serviceWorker' in navigator)) return false;
  const tried = 'reloaded for isolation';
  try {
    const active = navigator.serviceWorker.register('service-worker.js').then(() => navigator.serviceWorker.ready);
    if (!(await Promise.race([active, pause(PATIENCE)]))) return false; // some browsers leave it open forever
    if (sessionStorage.getItem(tried)) return false;
    sessionStorage.setItem(tried, '1');
  } catch {
    return false;
  }
  location.reload();
  return new Promise(() => {}); // until it is reloaded
}
