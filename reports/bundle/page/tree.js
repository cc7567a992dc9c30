// RFC 6962 trees. Sizes are numbers up to 2^53, so nothing here uses 32-bit operators on them.
const leafHash = entry => sha256(concat(Uint8Array.of(0), entry));
const nodeHash = (left, right) => sha256(concat(Uint8Array.of(1), left, right));
const half = n => Math.floor(n / 2);

function split(n) { // largest power of two below n
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

function topBit(n) { // largest power of two of n
  let k = 1;
  while (k * 2 <= n) k *= 2;
  return k;
}

// included checks a leaf's audit path (RFC 9162, 2.1.3.2).
async function included(leaf, index, size, path, root) {
  if (index >= size) return false;
  let fn = index, sn = size - 1, r = leaf;
  for (const p of path) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      r = await nodeHash(p, r);
      while (fn % 2 === 0 && fn !== 0) { fn = half(fn); sn = half(sn); }
    } else {
      r = await nodeHash(r, p);
    }
    fn = half(fn); sn = half(sn);
  }
  return sn === 0 && same(r, root);
}

// continues checks a consistency proof (RFC 9162, 2.1.4.2).
async function continues(path, oldSize, oldRoot, newSize, newRoot) {
  if (oldSize > newSize || oldSize === 0) return false;
  if (oldSize === newSize) return path.length === 0 && same(oldRoot, newRoot);
  let proof = topBit(oldSize) === oldSize ? [oldRoot, ...path] : path;
  let fn = oldSize - 1, sn = newSize - 1;
  while (fn % 2 === 1) { fn = half(fn); sn = half(sn); }
  if (proof.length === 0) return false;
  let fr = proof[0], sr = proof[0];
  for (const c of proof.slice(1)) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      fr = await nodeHash(c, fr);
      sr = await nodeHash(c, sr);
      while (fn % 2 === 0 && fn !== 0) { fn = half(fn); sn = half(sn); }
    } else {
      sr = await nodeHash(sr, c);
    }
    fn = half(fn); sn = half(sn);
  }
  return sn === 0 && same(fr, oldRoot) && same(sr, newRoot);
}

// Spans {from, to, step} are known nodes of step entries each, ascending and apart.
function rangeSpans(from, to, step) {
  const first = Math.ceil(from / step) * step, last = Math.floor(to / step) * step;
  const spans = step === 1 || first >= last ? [{from, to, step: 1}]
    : [{from, to: first, step: 1}, {from: first, to: last, step}, {from: last, to, step: 1}];
  return spans.filter(s => s.from < s.to);
}

function entrySpans(seqs) {
  const out = [];
  for (const seq of seqs) {
    const last = out[out.length - 1];
    if (last && last.to === seq) last.to++; else out.push({from: seq, to: seq + 1, step: 1});
  }
  return out;
}

// covered walks down from the root: what holds none of the spans takes the next hash of the cover, a node of a span
// the next known hash, anything else is split. It gives the roots of earlier sizes too, by size, where it could tell them.
async function covered(head, spans, cover, known, earlier) {
  let used = 0, given = 0;
  const parts = new Map(), name = (lo, hi) => lo + ' ' + hi;
  for (const size of earlier) for (const [lo, hi] of subtreesOf(size)) parts.set(name(lo, hi), null);
  const firstFrom = (list, lo) => { // first span that ends after lo
    let a = 0, b = list.length;
    while (a < b) { const m = half(a + b); if (list[m].to <= lo) a = m + 1; else b = m; }
    return a;
  };
  async function node(lo, hi, list) {
    let h;
    if (list.length === 0) {
      if (used === cover.length) throw new Error('the cover has too few hashes');
      h = cover[used++];
    } else if (list[0].from <= lo && hi <= list[0].to && hi - lo === list[0].step) {
      if (given === known.length) throw new Error('fewer entries than places');
      h = known[given++];
    } else {
      const mid = lo + split(hi - lo), cut = firstFrom(list, mid);
      const right = list.slice(cut), left = cut < list.length && list[cut].from < mid ? list.slice(0, cut + 1) : list.slice(0, cut);
      h = await nodeHash(await node(lo, mid, left), await node(mid, hi, right));
    }
    if (parts.has(name(lo, hi))) parts.set(name(lo, hi), h);
    return h;
  }
  const root = await node(0, head.size, spans);
  if (used !== cover.length || given !== known.length) throw new Error('there are more hashes than places');
  if (!same(root, head.root)) throw new Error('the entries and what covers the rest make another root than the one signed');
  const roots = new Map();
  for (const size of earlier) {
    const list = subtreesOf(size).map(([lo, hi]) => parts.get(name(lo, hi)));
    if (list.length === 0 || list.includes(null)) continue;
    let r = list.pop();
    while (list.length > 0) r = await nodeHash(list.pop(), r);
    roots.set(size, r);
  }
  return roots;
}

// subtreesOf are the complete subtrees of a log of a size, from the left.
function subtreesOf(size) {
  const out = [];
  for (let lo = 0; lo < size;) { const hi = lo + topBit(size - lo); out.push([lo, hi]); lo = hi; }
  return out;
}
