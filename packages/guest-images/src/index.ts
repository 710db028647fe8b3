export {
  type BuildGuestImageOptions,
  buildGuestImage,
  type GuestImage,
  type GuestImageKind,
  planGuestImage,
} from './build-guest-image.ts';
export type { BuildPlan, BuildStep } from './build-plan.ts';
export { TINY_KERNEL_ARGUMENTS } from './tiny/plan-tiny-image.ts';
export { compressImage } from './compress-image.ts';
