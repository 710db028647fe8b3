import type { TestWorld } from '@slipway/testkit';

/** Programs run in these tests: on a busy machine a world may take longer to settle than it allows once. */
export async function settlePatiently(world: TestWorld, tries = 12): Promise<void> {
  try {
    await world.settle();
  } catch (error) {
    if (tries === 0 || !(error instanceof DOMException) || error.name !== 'TimeoutError') throw error;
    await settlePatiently(world, tries - 1);
  }
}
