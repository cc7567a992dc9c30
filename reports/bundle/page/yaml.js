// What genesis files need of YAML 1.2: block mappings and sequences, flow collections, scalars of one line, comments. Scalars are
// read as text. Anchors, tags, directives, block scalars and what goes on over lines are refused: the file's digest is known, so
// that nothing can be smuggled in, only left unread.
const YAML_DEPTH = 16;
const YAML_KEY = /^([A-Za-z_][\w-]*|"[^"\\]*"|'[^']*')\s*:(?=\s|$)/;

function readYaml(source) {
  const lines = source.split(/\r?\n/);
  let at = 0;
  const bad = what => { throw new Error('line ' + (at + 1) + ' of it is beyond what this page reads (' + what + ')'); };
  const next = () => { // skips what says nothing, and measures the indentation of the first line that does
    while (at < lines.length && /^\s*(#.*)?$/.test(lines[at])) at++;
    if (at === lines.length) return -1;
    const n = lines[at].search(/\S/);
    if (lines[at].slice(0, n) !== ' '.repeat(n)) bad('indentation');
    return n;
  };
  const own = () => Object.create(null);
  const set = (to, key, value) => { if (key in to) bad('repeated key'); to[key] = value; };
  const begins = s => s === '-' || s.startsWith('- ');

  const scalar = s => {
    if (/^[|>&*!?%@`]/.test(s)) bad('mark');
    if (s[0] !== '"' && s[0] !== '\'') return s.replace(/\s#.*$/, '').trimEnd();
    const m = s[0] === '"' ? /^"(?:[^"\\]|\\.)*"/.exec(s) : /^'(?:[^']|'')*'/.exec(s);
    if (!m || !/^\s*(#.*)?$/.test(s.slice(m[0].length)) || (s[m[0].length] === '#')) bad('quotes');
    return unquote(m[0]);
  };
  const unquote = s => {
    if (s[0] === '\'') return s.slice(1, -1).replaceAll('\'\'', '\'');
    try { return JSON.parse(s); } catch { return bad('escape'); }
  };

  // flow reads a collection in brackets from the current line on and leaves the reader behind it.
  const flow = first => {
    const from = at, rest = first + '\n' + lines.slice(at + 1).join('\n') + '\n';
    let i = 0;
    const space = () => { const m = /^(?:\s|(?<=\s)#[^\n]*)*/.exec(rest.slice(i)); i += m[0].length; at = from + rest.slice(0, i).split('\n').length - 1; };
    const token = () => {
      const m = /^(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*')/.exec(rest.slice(i)) || /^[^\s,\[\]{}#&*!|>'"%@`?:-][^,\[\]{}\n#:]*(?::(?=\S)[^,\[\]{}\n#:]*)*/.exec(rest.slice(i));
      if (!m) bad('text in brackets');
      i += m[0].length;
      return /^["']/.test(m[0]) ? unquote(m[0]) : m[0].trimEnd();
    };
    const value = depth => {
      if (depth > YAML_DEPTH) bad('depth');
      const open = rest[i];
      if (open !== '{' && open !== '[') return token();
      const close = open === '{' ? '}' : ']', out = open === '{' ? own() : [];
      i++;
      for (space(); rest[i] !== close; space()) {
        if (open === '[') out.push(value(depth + 1));
        else {
          const key = token();
          space();
          if (rest[i++] !== ':') bad('no colon');
          space();
          set(out, key, value(depth + 1));
        }
        space();
        if (rest[i] === ',') i++;
        else if (rest[i] !== close) bad('brackets');
      }
      i++;
      return out;
    };
    const out = value(0), end = rest.indexOf('\n', i);
    at = from + rest.slice(0, i).split('\n').length - 1;
    if (!/^\s*(\s#.*)?$/.test(rest.slice(i, end))) bad('text behind brackets');
    at++;
    return out;
  };

  // follow reads what stands behind a key or a dash, on its line or below it.
  const follow = (rest, least, same, depth) => {
    if (depth > YAML_DEPTH) bad('depth');
    if (/^(#.*)?$/.test(rest)) {
      at++;
      const n = next();
      if (n === same && begins(lines[at].slice(n))) return sequence(n, depth);
      return n >= least ? block(n, depth) : '';
    }
    if (rest[0] === '{' || rest[0] === '[') return flow(rest);
    const out = scalar(rest);
    at++;
    if (next() >= least) bad('text over several lines');
    return out;
  };

  const mapping = (n, depth) => {
    const out = own();
    for (let m = next(); m >= n; m = next()) {
      const key = m === n && YAML_KEY.exec(lines[at].slice(n));
      if (!key) bad('no key');
      const name = key[1];
      const value = follow(lines[at].slice(n + key[0].length).trim(), n + 1, n, depth + 1);
      set(out, /^["']/.test(name) ? name.slice(1, -1) : name, value);
    }
    return out;
  };

  const sequence = (n, depth) => {
    const out = [];
    for (let m = next(); m >= n; m = next()) {
      if (m > n) bad('indentation');
      const line = lines[at].slice(n);
      if (!begins(line)) break; // the mapping goes on in which the sequence is a value
      const inner = line.slice(1), rest = inner.trim();
      if (YAML_KEY.test(rest) || begins(rest)) { // a collection that begins behind the dash
        lines[at] = ' '.repeat(n + 1) + inner;
        out.push(block(next(), depth + 1));
      } else out.push(follow(rest, n + 1, -2, depth + 1));
    }
    return out;
  };

  const block = (n, depth) => {
    if (depth > YAML_DEPTH) bad('depth');
    return begins(lines[at].slice(n)) ? sequence(n, depth) : mapping(n, depth);
  };

  if (next() === 0 && /^---\s*$/.test(lines[at])) at++;
  const n = next();
  if (n < 0) bad('nothing');
  const out = /^[{[]/.test(lines[at].slice(n)) ? flow(lines[at].slice(n)) : block(n, 0);
  if (next() >= 0) bad('more than one document');
  return out;
}
