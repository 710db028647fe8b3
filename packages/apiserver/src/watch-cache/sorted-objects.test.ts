import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SortedObjects, lowerBound } from './sorted-objects.ts';
import { StoredObject } from './stored-object.ts';

const object = (name: string, revision = 1): StoredObject => new StoredObject(`/things//ns/${name}`, revision, '{}');

describe('SortedObjects', () => {
  it('lists what a sorted map would list, however changes and reads alternate', () => {
    const step = fc.oneof(
      fc.record({ type: fc.constant('put' as const), name: fc.string({ maxLength: 2 }), revision: fc.nat() }),
      fc.record({ type: fc.constant('delete' as const), name: fc.string({ maxLength: 2 }), revision: fc.nat() }),
      fc.record({ type: fc.constant('list' as const), name: fc.constant(''), revision: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const objects = new SortedObjects();
        const model = new Map<string, StoredObject>();
        for (const { type, name, revision } of steps) {
          const { key } = object(name);
          if (type === 'put') {
            const made = object(name, revision);
            objects.set(key, made);
            model.set(key, made);
          } else if (type === 'delete') {
            objects.set(key, undefined);
            model.delete(key);
          } else objects.list();
        }
        expect(objects.list()).toEqual([...model.values()].sort((a, b) => (a.key < b.key ? -1 : 1)));
      }),
    );
  });

  it('never changes a list that it handed out', () => {
    const objects = new SortedObjects();
    objects.set(object('a').key, object('a'));
    const before = objects.list();
    objects.set(object('a').key, undefined);
    objects.set(object('b').key, object('b'));
    expect(objects.list().map(({ name }) => name)).toEqual(['b']);
    expect(before.map(({ name }) => name)).toEqual(['a']);
  });

  it('forgets keys that come and go although nobody lists', () => {
    const objects = new SortedObjects();
    for (let n = 0; n < 5000; n++) {
      const { key } = object(`event-${n}`);
      objects.set(key, object(`event-${n}`));
      objects.set(key, undefined);
    }
    expect(objects.waiting).toBeLessThan(2000);
    expect(objects.list()).toEqual([]);
  });
});

describe('lowerBound', () => {
  it.each([
    ['a', 0],
    ['b', 0],
    ['c', 1],
    ['d', 1],
    ['e', 2],
  ])('%s is at %i', (name, index) => {
    expect(lowerBound([object('b'), object('d')], object(name).key)).toBe(index);
  });
});
