import { describe, expect, it } from 'vitest';
import { compileExpression, toCel } from './expression.ts';

const SELF = {
  name: 'my-app',
  emoji: 'a😀b',
  list: [3, 1, 2],
  words: ['x', 'y', 'x'],
  map: { a: 1, b: 2 },
  ip: '10.1.2.3',
  time: '2026-01-02T03:04:05Z',
  empty: [],
};

/** The value, or the text of what went wrong. */
function run(source: string): unknown {
  const result = compileExpression(source, ['self'], 'any');
  if ('error' in result) return `error: ${result.error}`;
  try {
    return result.expression.run({ self: toCel(SELF) }, { left: 1_000_000 });
  } catch (error) {
    return `error: ${error instanceof Error ? error.message : String(error)}`;
  }
}

const TRUE: Readonly<Record<string, readonly string[]>> = {
  strings: [
    "self.name.charAt(3) == 'a'",
    "'tacocat'.charAt(7) == ''",
    "self.emoji.charAt(1) == '😀'",
    'self.emoji.size() == 3',
    "self.emoji.indexOf('b') == 2",
    "self.emoji.lastIndexOf('b') == 2",
    "self.emoji.substring(1, 2) == '😀'",
    "'hello mellow'.indexOf('ello', 2) == 7",
    "'hello mellow'.lastIndexOf('ello') == 7",
    "'hello mellow'.lastIndexOf('ello', 6) == 1",
    "'ÄBC'.lowerAscii() == 'Äbc'",
    "'äbc'.upperAscii() == 'äBC'",
    "'hello hello'.replace('he', 'we') == 'wello wello'",
    "'hello hello'.replace('he', 'we', 1) == 'wello hello'",
    "'hello hello'.replace('he', 'we', 0) == 'hello hello'",
    "'a$b'.replace('$', '$&') == 'a$&b'",
    "self.emoji.split('') == ['a', '😀', 'b']",
    "'a b c'.split(' ', 2) == ['a', 'b c']",
    "'a b c'.split(' ', 0) == []",
    "['a', 'b'].join('-') == 'a-b'",
    "'gums'.reverse() == 'smug'",
    "'  a '.trim() == 'a'",
    `strings.quote('a"b') == "\\"a\\\\\\"b\\""`,
    "'this is a string: %s\\nand an integer: %d'.format(['str', 42]) == 'this is a string: str\\nand an integer: 42'",
    "'%.2f %e %b %x %X %o %%'.format([3.14159, 1234.5, 5, 255, 'hi', 8]) == '3.14 1.234500e+03 101 ff 6869 10 %'",
    "'%s'.format([[1, 'a', true, null]]) == '[1, a, true, null]'",
    "'%s'.format([{'b': 1, 'a': [2]}]) == '{a: [2], b: 1}'",
  ],
  regex: [
    "self.name.matches('^[a-z-]+$')",
    "'abc 123'.find('[0-9]+') == '123'",
    "'abc'.find('[0-9]+') == ''",
    "'123 abc 456'.findAll('[0-9]+') == ['123', '456']",
    "'123 abc 456'.findAll('[0-9]+', 1) == ['123']",
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'.matches('^(a+)+$') == false",
  ],
  lists: [
    '!self.list.isSorted() && [1, 2, 2].isSorted() && self.empty.isSorted()',
    "self.list.sum() == 6 && [1.5, 2.0].sum() == 3.5 && [duration('1m'), duration('1s')].sum() == duration('61s')",
    'self.list.min() == 1 && self.list.max() == 3',
    "self.words.indexOf('x') == 0 && self.words.lastIndexOf('x') == 2 && self.words.indexOf('z') == -1",
    '[[1], [2]].indexOf([2]) == 1',
    'sets.contains(self.list, [1, 2]) && !sets.contains([1], [1, 2]) && sets.contains([1], [])',
    'sets.equivalent([1, 1, 2], [2, 1]) && sets.intersects([1, 2], [2, 3]) && !sets.intersects([1], [2])',
    "sets.contains([{'a': 1}], [{'a': 1}])",
  ],
  quantities: [
    "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1').isLessThan(quantity('2'))",
    "quantity('1000m') == quantity('1') && quantity('1').compareTo(quantity('2')) == -1",
    "quantity('50k').add('20k' == '' ? quantity('0') : quantity('20k')) == quantity('70k')",
    "quantity('50k').add(20).sub(quantity('100k')).sub(-50000) == quantity('20')",
    "quantity('50k').asInteger() == 50000 && quantity('1500m').asApproximateFloat() == 1.5 && !quantity('1500m').isInteger()",
    "quantity('-1').sign() == -1 && quantity('0').sign() == 0 && isQuantity('1.5Gi') && !isQuantity('1.5Q')",
  ],
  urls: [
    "url('https://user:pass@example.com:80/a b?x=1&x=2&y').getHost() == 'example.com:80'",
    "url('https://example.com:80/').getPort() == '80' && url('https://example.com/').getPort() == ''",
    "url('HTTPS://Example.com').getScheme() == 'https' && url('https://Example.com').getHostname() == 'Example.com'",
    "url('https://[::1]:80/').getHostname() == '::1' && url('https://[::1]:80/').getHost() == '[::1]:80'",
    "url('https://example.com/with space').getEscapedPath() == '/with%20space' && url('https://example.com').getEscapedPath() == ''",
    "url('/path?k=a&k=b').getQuery() == {'k': ['a', 'b']} && url('/path').getScheme() == ''",
    "isURL('https://example.com') && isURL('/absolute') && !isURL('relative/path') && !isURL('https://a:b:c/') && !isURL('')",
  ],
  addresses: [
    "isIP('127.0.0.1') && isIP('::1') && !isIP('127.0.0.256') && !isIP('::ffff:1.2.3.4') && !isIP('fe80::1%eth0')",
    "ip('127.0.0.1').family() == 4 && ip('::1').family() == 6",
    "ip('127.0.0.1').isLoopback() && ip('::1').isLoopback() && ip('0.0.0.0').isUnspecified() && ip('::').isUnspecified()",
    "ip('169.254.1.1').isLinkLocalUnicast() && ip('fe80::1').isLinkLocalUnicast() && ip('224.0.0.1').isLinkLocalMulticast()",
    "ip('ff02::1').isLinkLocalMulticast() && ip(self.ip).isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast()",
    "ip('2001:db8:0:0:1::1') == ip('2001:db8::1:0:0:1') && string(ip('2001:DB8::ABCD')) == '2001:db8::abcd'",
    "ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD') && string(ip('1:0:0:2::')) == '1:0:0:2::'",
    "cidr('192.168.0.0/24').containsIP('192.168.0.1') && !cidr('192.168.0.0/24').containsIP(ip('192.168.1.1'))",
    "cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24') && !cidr('192.168.0.0/24').containsCIDR(cidr('192.168.0.0/16'))",
    "cidr('192.168.1.5/24').masked() == cidr('192.168.1.0/24') && cidr('192.168.1.5/24').ip() == ip('192.168.1.5')",
    "cidr('::1/128').prefixLength() == 128 && string(cidr('10.0.0.0/8')) == '10.0.0.0/8' && !isCIDR('10.0.0.0/33') && isCIDR('::/0')",
  ],
  formats: [
    "!format.dns1123Label().validate('my-label').hasValue() && format.dns1123Label().validate('My').hasValue()",
    "format.named('dns1123Subdomain').value().validate('a.b') == optional.none() && !format.named('odd').hasValue()",
    "format.dns1123LabelPrefix().validate('a-') == optional.none() && format.dns1035Label().validate('1a').hasValue()",
    "format.uuid().validate('123e4567-e89b-12d3-a456-426614174000') == optional.none() && format.uri().validate('a b').hasValue()",
    "format.datetime().validate(self.time) == optional.none() && format.date().validate('2026-13-01').hasValue()",
    "format.qualifiedName().validate('example.com/name') == optional.none() && format.labelValue().validate('-').hasValue()",
    "format.byte().validate('aGVsbG8=') == optional.none() && format.dns1123Label() == format.named('dns1123Label').value()",
    "size(format.dns1123Label().validate('A').value()) == 1",
  ],
  math: [
    'math.greatest(1, 2, 3) == 3 && math.least([4, 2.5]) == 2.5 && math.greatest(-1) == -1',
    'math.ceil(1.2) == 2.0 && math.floor(-1.2) == -2.0 && math.round(-1.5) == -2.0 && math.trunc(-1.9) == -1.0',
    'math.abs(-5) == 5 && math.abs(-1.5) == 1.5 && math.sign(-3) == -1 && math.sqrt(9) == 3.0',
    'math.isNaN(0.0 / 0.0) && math.isInf(1.0 / 0.0) && math.isFinite(1.0)',
    'math.bitAnd(6, 3) == 2 && math.bitOr(6, 3) == 7 && math.bitXor(6, 3) == 5 && math.bitNot(0) == -1',
    'math.bitShiftLeft(1, 3) == 8 && math.bitShiftRight(16, 2) == 4 && math.bitShiftLeft(1, 64) == 0',
  ],
  semver: [
    "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3').patch() == 3",
    "semver('1.0.0-alpha.2').isLessThan(semver('1.0.0-alpha.10')) && semver('1.0.0-rc').isLessThan(semver('1.0.0'))",
    "semver('1.2.3+a') == semver('1.2.3+b') && semver('2.0.0').compareTo(semver('1.9.9')) == 1",
    "isSemver('1.0.0') && !isSemver('v1.0') && isSemver('v1.0', true) && !isSemver('01.0.0') && isSemver('01.0.0', true)",
    "semver('v1.0', true) == semver('1.0.0') && !isSemver('a') && !isSemver('a', true)",
  ],
  'two variables': [
    'self.list.all(i, v, i < 3 && v > 0) && !self.list.all(i, v, v > i)',
    "self.map.exists(k, v, k == 'b' && v == 2) && self.map.existsOne(k, v, v == 1) && !self.map.exists_one(k, v, v > 0)",
    'self.list.transformList(i, v, v * 2 + i) == [6, 3, 6]',
    'self.list.transformList(i, v, i > 0, v) == [1, 2]',
    "self.map.transformMap(k, v, v + 1) == {'a': 2, 'b': 3} && self.map.transformMap(k, v, k == 'a', v) == {'a': 1}",
    "self.words.transformMapEntry(i, v, i < 2, {v: i}) == {'x': 0, 'y': 1}",
    'self.list.exists(i, v, 1 / (i - 1) == -1 || v == 2)',
    'self.list.all(i, a, self.list.all(j, b, i != j || a == b))',
  ],
  optionals: [
    "self.?name.orValue('') == 'my-app' && !self.?missing.hasValue() && self.?missing.deeper.orValue(1) == 1",
    "optional.of(1).value() == 1 && optional.none().orValue(2) == 2 && self.?map['a'].orValue(0) == 1 && self.map[?'z'].orValue(9) == 9",
    "!optional.ofNonZeroValue('').hasValue() && optional.ofNonZeroValue('a').hasValue() && !optional.ofNonZeroValue([]).hasValue()",
    "self.?name.optMap(n, n + '!').value() == 'my-app!' && !self.?missing.optMap(n, n).hasValue()",
    'self.?name.optFlatMap(n, optional.of(size(n))).orValue(0) == 6 && optional.of(1) == optional.of(1)',
  ],
  conversions: [
    "string(timestamp(self.time)) == '2026-01-02T03:04:05Z' && int(timestamp(self.time)) == 1767323045",
    "string(duration('90s')) == '90s' && string(duration('1.5s')) == '1.5s' && duration('1h') > duration('59m')",
    "timestamp(self.time).getFullYear() == 2026 && timestamp(self.time) + duration('1h') > timestamp(self.time)",
    "cel.bind(x, 5, x * 2) == 10 && type(self.name) == string && has(self.name) && 'a' in self.map && 2 in self.list",
  ],
};

describe('CEL library', () => {
  it.each(Object.entries(TRUE).flatMap(([part, sources]) => sources.map((source) => [part, source] as const)))(
    '%s: %s',
    (_part, source) => {
      expect(run(source)).toBe(true);
    },
  );

  it.each([
    ["'a'.charAt(2)", 'index out of range: 2'],
    ["'a'.substring(1, 0)", 'invalid substring range. start: 1, end: 0'],
    ["'%d'.format(['a'])", 'error during formatting'],
    ["'%s %s'.format(['a'])", 'index 1 out of range'],
    ["'%q'.format(['a'])", 'unrecognized formatting clause "q"'],
    ['self.empty.min()', 'min called on empty list'],
    ["quantity('x')", 'quantities must match'],
    ["quantity('1500m').asInteger()", 'cannot convert value to integer'],
    ["ip('nope')", 'IP Address "nope" parse error'],
    ["cidr('10.0.0.0')", 'network address parse error'],
    ["url('rel')", 'URL parse error during conversion from string: rel'],
    ["semver('x')", 'Semver parse error'],
    ["'a'.matches('(a)\\\\1')", 'invalid escape sequence'],
    ["self.name.matches(self.emoji + '(')", 'missing closing )'],
    ['math.abs(-9223372036854775807 - 1)', 'integer overflow'],
    ['math.bitShiftLeft(1, -1)', 'negative offset'],
    ['self.words.transformMapEntry(i, v, {v: i})', "key 'x' already exists"],
    ['self.list.all(i, v, v)', 'predicate must return bool'],
    ["'a'.foo()", "found no matching overload for 'foo' applied to 'string.()'"],
    ["1 + 'a'", "found no matching overload for '_+_' applied to '(int, string)'"],
    ['1.matches(1)', "found no matching overload for 'matches' applied to 'int.(int)'"],
    ['1 +', 'Syntax error'],
    ['[1].all(i.x, v, true)', 'argument must be a simple name'],
  ])('%s fails: %s', (source, why) => {
    expect(run(source)).toContain('error: ');
    expect(run(source)).toContain(why);
  });

  it('charges loops that do nothing', () => {
    const loops = ['a', 'b', 'c', 'd', 'e'].map(
      (name) => `[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14].all(${name}, ${name}${name}, `,
    );
    expect(run(`${loops.join('')}true${')'.repeat(loops.length)}`)).toContain('actual cost limit exceeded');
  });
});
