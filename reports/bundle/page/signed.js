// Signatures: C2SP signed notes by the log, DSSE envelopes by the node and by people.

// smallOrder points of edwards25519 verify what nobody signed: their encodings, the sign aside (RFC 8032, 5.1).
function smallOrder(x) {
  const end = n => 'f'.repeat(60) + n, y = Uint8Array.from(x);
  y[31] &= 127;
  return ['00'.repeat(32), '01' + '00'.repeat(31), 'ec' + end('7f'), 'ed' + end('7f'), 'ee' + end('7f'),
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05', 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'].includes(hex(y));
}

async function verifyRaw(jwk, message, signature) {
  let key, algorithm;
  try {
    if (jwk.kty === 'OKP' && jwk.crv === 'Ed25519') {
      algorithm = {name: 'Ed25519'};
      if (smallOrder(base64url(jwk.x))) throw new Error('key is a point of small order');
      key = await crypto.subtle.importKey('raw', base64url(jwk.x), algorithm, false, ['verify']);
    } else if (jwk.kty === 'EC' && jwk.crv === 'P-256') {
      algorithm = {name: 'ECDSA', hash: 'SHA-256'};
      key = await crypto.subtle.importKey('jwk', {kty: 'EC', crv: 'P-256', x: jwk.x, y: jwk.y}, {name: 'ECDSA', namedCurve: 'P-256'}, false, ['verify']);
    } else throw new Error('key of type ' + clip(jwk.kty) + ' is not allowed');
  } catch (e) {
    if (e.name === 'NotSupportedError') throw new Fault('browser', '', 'it knows no Ed25519; Chromium 137, Firefox 129, Safari 17 and newer do');
    throw e;
  }
  return signature.length === 64 && crypto.subtle.verify(algorithm, key, signature, message);
}

// thumbprint is the key id by RFC 7638.
async function thumbprint(jwk) {
  const members = jwk.kty === 'OKP' ? {crv: jwk.crv, kty: jwk.kty, x: jwk.x} : {crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y};
  return toBase64url(await sha256(utf8(canonical(members))));
}

// openEnvelope reads a DSSE envelope; check() says whether a key signed it.
function openEnvelope(v) {
  if (!v || !Array.isArray(v.signatures) || v.signatures.length !== 1) throw new Error('malformed envelope');
  const payload = base64(v.payload, 'payload'), type = String(v.payloadType), s = v.signatures[0];
  const message = concat(utf8('DSSEv1 ' + utf8(type).length + ' ' + type + ' ' + payload.length + ' '), payload);
  return {type, payload, keyid: s.keyid, check: async jwk => await thumbprint(jwk) === s.keyid && verifyRaw(jwk, message, base64(s.sig, 'sig'))};
}

// noteKey reads a note verifier key: name+hash+base64(type ‖ Ed25519 key), type 1 of a log, 4 of a witness.
async function noteKey(line, type = 1) {
  const m = /^([^+\s]+)\+([0-9a-f]{8})\+(.+)$/.exec(line);
  if (!m) throw new Error('malformed log key');
  const key = base64(m[3], 'log key');
  if (key[0] !== type || key.length !== 33) throw new Error('log key is not Ed25519');
  const hash = (await sha256(concat(utf8(m[1] + '\n'), key))).subarray(0, 4);
  if (hex(hash) !== m[2]) throw new Error('log key has another hash than it says');
  return {name: m[1], hash, jwk: {kty: 'OKP', crv: 'Ed25519', x: toBase64url(key.subarray(1))}};
}

// keyChain is the log keys, each with the sizes of the checkpoints that it may sign: the first of the pinned ones, and what
// handovers lead to from there. A handover is a checkpoint that names the next key; the key before it and that key sign it.
async function keyChain(first, instance) {
  const chain = {keys: [{line: first, first: 0, last: Infinity}], notes: [], heads: []};
  const textOf = note => note.slice(0, note.lastIndexOf('\n\n') + 1);
  chain.follow = async (file, notes) => {
    const past = notes.findIndex(n => textOf(n).split('\n')[4] === 'next-log-key ' + first);
    for (const [i, note] of notes.slice(past + 1).entries()) {
      if (i < chain.notes.length) {
        if (textOf(note) !== textOf(chain.notes[i])) throw new Fault('fork', file, 'handover ' + (i + 1) + ' of the log key is not the one known before');
        continue;
      }
      const last = chain.keys[chain.keys.length - 1], head = await openCheckpoint(file, utf8(note), instance, [last]);
      if (!head.next) throw new Fault('signature', file, 'a handover that names no key');
      if (chain.keys.some(k => k.line === head.next)) throw new Fault('signature', file, 'a handover to a key that was in force before');
      await openCheckpoint(file, utf8(note), instance, [{line: head.next, first: 0, last: Infinity}]);
      last.last = head.size;
      chain.keys.push({line: head.next, first: head.size, last: Infinity});
      chain.notes.push(note);
      chain.heads.push(head);
    }
  };
  return chain;
}

// openCheckpoint checks a checkpoint's form and that one of the log keys signed it, one that was in force at its size.
async function openCheckpoint(file, bytes, instance, keys) {
  const bad = (kind, detail) => { throw new Fault(kind, file, detail); };
  if (bytes.length > 65536) bad('checkpoint', 'too long');
  let s;
  try { s = text(bytes); } catch { bad('checkpoint', 'not UTF-8'); }
  const cut = s.lastIndexOf('\n\n');
  if (cut < 0) bad('signature', 'no signature');
  const signed = s.slice(0, cut + 1), lines = signed.split('\n');
  let known;
  try { known = await Promise.all(keys.map(async k => ({...await noteKey(k.line), first: k.first, last: k.last}))); } catch (e) { bad('checkpoint', e.message); }
  let good = false;
  for (const line of s.slice(cut + 2).split('\n').filter(l => l !== '')) {
    const m = /^— (\S+) (\S+)$/.exec(line);
    if (!m) bad('checkpoint', 'malformed signature line');
    let raw;
    try { raw = base64(m[2], 'signature'); } catch (e) { bad('checkpoint', e.message); }
    for (const k of known) {
      if (k.name !== m[1] || !same(k.hash, raw.subarray(0, 4))) continue;
      if (!(Number(lines[1]) >= k.first && Number(lines[1]) <= k.last)) bad('signature', 'it is signed by a log key that was not in force at its size');
      if (!await verifyRaw(k.jwk, utf8(signed), raw.subarray(4))) bad('signature', 'its signature does not verify');
      good = true;
    }
  }
  if (!good) bad('signature', 'no signature by a log key that is known');
  const number = n => { if (!/^(0|[1-9]\d{0,15})$/.test(n)) bad('checkpoint', 'malformed number'); const v = Number(n); if (!Number.isSafeInteger(v)) bad('checkpoint', 'malformed number'); return v; };
  const words = (lines[3] || '').split(' ');
  const next = lines.length === 6 ? /^next-log-key (\S+)$/.exec(lines[4]) : null;
  if (lines[lines.length - 1] !== '' || lines.length !== 5 && !next || words.length !== 4 || words[0] !== 'authority') bad('checkpoint', 'not of this log\'s form');
  if (lines[0] !== 'conclave/' + instance.slice(0, 32)) bad('checkpoint', 'of another log');
  const head = {size: number(lines[1]), root: null, epoch: number(words[1]), controlCount: number(words[2]), controlLast: number(words[3]), next: next ? next[1] : ''};
  try { head.root = base64(lines[2], 'root'); } catch (e) { bad('checkpoint', e.message); }
  if (head.root.length !== 32 || head.size === 0) bad('checkpoint', 'it covers no entry');
  return head;
}

// cosignatures are those by witnesses that are known: C2SP tlog-cosignature, a time and an Ed25519 signature.
async function cosignatures(file, bytes, keys) {
  const s = text(bytes), cut = s.lastIndexOf('\n\n'), out = [];
  for (const line of s.slice(cut + 2).split('\n').filter(l => l !== '')) {
    const m = /^— (\S+) (\S+)$/.exec(line), raw = base64(m[2], 'signature');
    for (const k of keys) {
      if (k.name !== m[1] || !same(k.hash, raw.subarray(0, 4))) continue;
      const seconds = new DataView(raw.buffer, raw.byteOffset + 4).getBigUint64(0);
      if (raw.length !== 76 || !await verifyRaw(k.jwk, utf8('cosignature/v1\ntime ' + seconds + '\n' + s.slice(0, cut + 1)), raw.subarray(12))) throw new Fault('witness', file, 'the cosignature of ' + clip(k.name) + ' does not verify');
      out.push({name: k.name, at: new Date(Number(seconds) * 1000).toISOString()});
    }
  }
  return out;
}

async function isSame(older, newer, path) {
  return newer.epoch >= older.epoch && newer.controlCount >= older.controlCount &&
    continues(path, older.size, older.root, newer.size, newer.root);
}
