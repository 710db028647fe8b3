/** Tells one who waits that a disk or a volume has been let go. */
export class ReleaseNotice {
  private hasReleased = true;
  private onRelease = (): void => {};

  give(): void {
    this.hasReleased = true;
    this.onRelease();
  }

  /** Resolves when something has been let go since the last call; at first at once. */
  async taken(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.hasReleased)
      await new Promise<void>((resolve, reject) => {
        const stop = (): void => reject(signal.reason);
        this.onRelease = () => {
          signal.removeEventListener('abort', stop);
          resolve();
        };
        signal.addEventListener('abort', stop, { once: true });
      });
    this.hasReleased = false;
  }
}
