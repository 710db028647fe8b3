const WAIT_MS = 120_000;

/** What a guest prints, kept until somebody has waited for it. */
export class GuestLog {
  readonly close: () => void;
  private text = '';
  private wake: () => void = () => {};
  private hasEnded = false;

  constructor(chunks: AsyncIterable<Uint8Array>, close: () => void) {
    this.close = close;
    void this.read(chunks);
  }

  private async read(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of chunks) {
        this.text += decoder.decode(chunk, { stream: true });
        this.wake();
      }
    } catch {
      // told by whoever waits
    }
    this.hasEnded = true;
    this.wake();
  }

  /** Resolves when the guest has printed this after everything that was waited for before. */
  async until(text: string): Promise<void> {
    const deadline = Date.now() + WAIT_MS;
    for (let at = this.text.indexOf(text); ; at = this.text.indexOf(text)) {
      if (at >= 0) {
        this.text = this.text.slice(at + text.length);
        return;
      }
      if (this.hasEnded || Date.now() > deadline) throw new Error(`The guest never printed ${text}: ${this.text.slice(-500)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now());
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** Seed of the tiny guest that makes it print `[+sda]` and `[-sda]` when block devices and interfaces come and go. */
export const WATCH_DEVICES = `#!/bin/sh
watch() {
  before=
  while :; do
    now=$(echo $(ls /sys/block /sys/class/net))
    if [ "$now" != "$before" ]; then
      for name in $now; do case " $before " in *" $name "*) ;; *) echo "[+$name]" > /dev/ttyS0 ;; esac; done
      for name in $before; do case " $now " in *" $name "*) ;; *) echo "[-$name]" > /dev/ttyS0 ;; esac; done
      before=$now
    fi
    sleep 0.1
  done
}
watch &
`;
