import { describe, expect, it } from 'vitest';
import { virtctl } from '../testing.ts';

describe('image-upload refuses', () => {
  it.each([
    ['disk d --image-path=x', 'invalid resource type disk: use dv or pvc'],
    ['dv', 'expecting the name of the dv'],
    ['dv d', 'either image-path or archive-path must be provided'],
    ['dv d --image-path=x --archive-path=y', 'either image-path or archive-path must be provided'],
    ['pvc d --archive-path=x --volume-mode=block', 'in archive upload the volume mode should always be filesystem'],
    ['dv d --image-path=x --volume-mode=maybe', "Invalid volume mode 'maybe'"],
    ['dv d --image-path=x --access-mode=ReadOnlyMany', 'cannot upload to a readonly volume'],
    ['dv d --image-path=x --wait-secs=soon', 'invalid argument "soon" for "--wait-secs" flag'],
    ['dv d --image-path=x --default-preference-kind=k', '--default-preference must be provided'],
    ['dv d --image-path=x --no-create --default-preference=p', 'cannot be used with --no-create'],
  ])('%s', async (flags, reason) => {
    const { status, err, requests } = await virtctl(`image-upload ${flags}`);
    expect({ status, requests }).toEqual({ status: 1, requests: [] });
    expect(err).toContain(reason);
  });
});
