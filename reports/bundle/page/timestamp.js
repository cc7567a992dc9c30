// RFC 3161 time-stamps: a DER reader, CMS signed data (RFC 5652), and certificates (RFC 5280) as far as time-stamping
// authorities use them. Signatures are WebCrypto's. What a certificate says that is not read here is refused where it is
// critical, never passed over.

const OID = {
  signedData: '1.2.840.113549.1.7.2', tstInfo: '1.2.840.113549.1.9.16.1.4', contentType: '1.2.840.113549.1.9.3', messageDigest: '1.2.840.113549.1.9.4',
  rsa: '1.2.840.113549.1.1.1', ec: '1.2.840.10045.2.1', ed25519: '1.3.101.112', timeStamping: '1.3.6.1.5.5.7.3.8',
  keyUsage: '2.5.29.15', basic: '2.5.29.19', extUsage: '2.5.29.37',
};
const HASHES = {'2.16.840.1.101.3.4.2.1': 'SHA-256', '2.16.840.1.101.3.4.2.2': 'SHA-384', '2.16.840.1.101.3.4.2.3': 'SHA-512'};
const SIGNATURES = {
  '1.2.840.113549.1.1.11': ['rsa', 'SHA-256'], '1.2.840.113549.1.1.12': ['rsa', 'SHA-384'], '1.2.840.113549.1.1.13': ['rsa', 'SHA-512'],
  '1.2.840.10045.4.3.2': ['ec', 'SHA-256'], '1.2.840.10045.4.3.3': ['ec', 'SHA-384'], '1.2.840.10045.4.3.4': ['ec', 'SHA-512'], '1.3.101.112': ['ed25519', ''],
};
const CURVES = {'1.2.840.10045.3.1.7': ['P-256', 32], '1.3.132.0.34': ['P-384', 48], '1.3.132.0.35': ['P-521', 66]};
// Extensions that say nothing against a time-stamp: subject and authority key id, alternative names, certificate policies.
const HARMLESS = ['2.5.29.14', '2.5.29.35', '2.5.29.17', '2.5.29.18', '2.5.29.32'];
const MAX_TOKEN = 256 * 1024, MAX_DEPTH = 24, MAX_CHAIN = 8;

// der reads one value: definite lengths in their shortest form, one-byte tags, nothing after it.
function der(bytes, depth = 0) {
  const {node, end} = derAt(bytes, 0, depth);
  if (end !== bytes.length) throw new Error('data after the value');
  return node;
}

function derAt(bytes, at, depth) {
  if (depth > MAX_DEPTH) throw new Error('nested too deeply');
  const tag = bytes[at];
  let length = bytes[at + 1], from = at + 2;
  if (tag === undefined || length === undefined || (tag & 31) === 31) throw new Error('malformed DER');
  if (length > 127) {
    const n = length & 127;
    if (n === 0 || n > 3 || from + n > bytes.length) throw new Error('malformed DER length');
    length = 0;
    for (let i = 0; i < n; i++) length = length * 256 + bytes[from + i];
    if (length < 128 || length < 256 ** (n - 1)) throw new Error('DER length is not in its shortest form');
    from += n;
  }
  const end = from + length;
  if (end > bytes.length) throw new Error('DER value is cut');
  const node = {tag, raw: bytes.subarray(at, end), value: bytes.subarray(from, end), parts: null};
  if (tag & 32) {
    node.parts = [];
    for (let i = from; i < end;) {
      const inner = derAt(bytes.subarray(0, end), i, depth + 1);
      node.parts.push(inner.node);
      i = inner.end;
    }
  }
  return {node, end};
}

function part(node, i, tag, what) {
  const p = node && node.parts && node.parts[i];
  if (!p || (tag !== undefined && p.tag !== tag)) throw new Error('no ' + what);
  return p;
}

function oid(node) {
  if (!node || node.tag !== 6 || node.value.length === 0 || node.value.length > 32) throw new Error('no object identifier');
  const out = [];
  let n = 0;
  for (const b of node.value) {
    n = n * 128 + (b & 127);
    if (n > 2 ** 48) throw new Error('object identifier is too large');
    if (b & 128) continue;
    if (out.length === 0) { const first = Math.min(2, Math.floor(n / 40)); out.push(first, n - 40 * first); } else out.push(n);
    n = 0;
  }
  if (node.value[node.value.length - 1] & 128) throw new Error('object identifier is cut');
  return out.join('.');
}

// instant reads UTCTime or GeneralizedTime in UTC, as milliseconds since 1970.
function instant(node) {
  const s = text(node.value), m = node.tag === 23 ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)()Z$/.exec(s) : node.tag === 24 ? /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{1,9}))?Z$/.exec(s) : null;
  if (!m) throw new Error('not a time in UTC');
  const year = node.tag === 23 ? (m[1] >= '50' ? '19' : '20') + m[1] : m[1];
  const at = Date.parse(year + '-' + m[2] + '-' + m[3] + 'T' + m[4] + ':' + m[5] + ':' + m[6] + 'Z');
  if (Number.isNaN(at)) throw new Error('not a time');
  return at + Number('0.' + (m[7] || '0')) * 1000;
}

// rawECDSA turns an ASN.1 signature into r ‖ s.
function rawECDSA(signature, size) {
  const s = der(signature), out = new Uint8Array(2 * size);
  if (s.tag !== 48 || s.parts.length !== 2) throw new Error('malformed ECDSA signature');
  s.parts.forEach((p, i) => {
    if (p.tag !== 2 || p.value.length === 0 || p.value[0] > 127) throw new Error('malformed ECDSA signature');
    const v = p.value[0] === 0 ? p.value.subarray(1) : p.value;
    if (v.length > size) throw new Error('malformed ECDSA signature');
    out.set(v, size * (i + 1) - v.length);
  });
  return out;
}

// verifySPKI checks a signature by a SubjectPublicKeyInfo. hash is what the message was digested with where the algorithm
// does not say.
async function verifySPKI(spki, algorithm, hash, message, signature) {
  const id = oid(part(spki, 0, 48, 'key algorithm').parts[0]);
  let [kind, digestName] = SIGNATURES[algorithm] || [];
  if (!kind && algorithm === OID.rsa) [kind, digestName] = ['rsa', hash];
  if (!kind && algorithm === OID.ec) [kind, digestName] = ['ec', hash];
  if (!kind) throw new Fault('browser', '', 'signature algorithm ' + algorithm);
  if (id !== {rsa: OID.rsa, ec: OID.ec, ed25519: OID.ed25519}[kind]) throw new Error('signature and key are of different algorithms');
  let use, params;
  if (kind === 'rsa') use = params = {name: 'RSASSA-PKCS1-v1_5', hash: digestName};
  if (kind === 'ed25519') use = params = {name: 'Ed25519'};
  if (kind === 'ec') {
    const curve = CURVES[oid(part(spki.parts[0], 1, 6, 'curve'))];
    if (!curve) throw new Fault('browser', '', 'another curve than P-256, P-384, P-521');
    [use, params] = [{name: 'ECDSA', namedCurve: curve[0]}, {name: 'ECDSA', hash: digestName}];
    signature = rawECDSA(signature, curve[1]);
  }
  const key = await crypto.subtle.importKey('spki', spki.raw, use, false, ['verify']);
  if (kind === 'rsa' && key.algorithm.modulusLength < 2048) throw new Error('RSA key of ' + key.algorithm.modulusLength + ' bits');
  return crypto.subtle.verify(params, key, signature, message);
}

const bits = node => node.tag === 3 && node.value[0] === 0 ? node.value.subarray(1) : (() => { throw new Error('malformed bit string'); })();

// certificate reads what matters of one.
function certificate(raw) {
  const c = der(raw), tbs = part(c, 0, 48, 'certificate'), versioned = tbs.parts[0] && tbs.parts[0].tag === 160, p = tbs.parts.slice(versioned ? 1 : 0);
  if (c.parts.length !== 3 || p.length < 6 || p[0].tag !== 2) throw new Error('malformed certificate');
  const out = {raw, tbs: tbs.raw, serial: hex(p[0].value), issuer: hex(p[2].raw), from: instant(part(p[3], 0, undefined, 'validity')), until: instant(part(p[3], 1, undefined, 'validity')),
    subject: hex(p[4].raw), spki: p[5], algorithm: oid(part(c.parts[1], 0, 6, 'algorithm')), signature: bits(c.parts[2]), ca: false, path: Infinity, usage: null, extended: null};
  if (hex(p[1].raw) !== hex(c.parts[1].raw)) throw new Error('certificate names two algorithms');
  const holder = p.find(x => x.tag === 163);
  for (const e of holder ? part(holder, 0, 48, 'extensions').parts : []) extension(out, e);
  return out;
}

function extension(out, e) {
  const id = oid(part(e, 0, 6, 'extension')), critical = e.parts[1].tag === 1 && e.parts[1].value[0] === 255, body = e.parts[e.parts.length - 1];
  if (body.tag !== 4) throw new Error('malformed extension');
  if (id === OID.basic) {
    const b = der(body.value);
    out.ca = b.parts.length > 0 && b.parts[0].tag === 1 && b.parts[0].value[0] === 255;
    const path = b.parts[b.parts.length - 1];
    if (out.ca && path.tag === 2) out.path = path.value.length === 1 ? path.value[0] : Infinity;
  } else if (id === OID.keyUsage) {
    const b = der(body.value);
    out.usage = b.tag === 3 ? b.value[1] || 0 : 0;
  } else if (id === OID.extUsage) {
    out.extended = der(body.value).parts.map(oid);
    out.extendedCritical = critical;
  } else if (critical && !HARMLESS.includes(id)) {
    throw new Fault('browser', '', 'a certificate has the critical extension ' + id);
  }
}

// chained looks for a way from a certificate to one of the roots, each valid at the time and allowed to issue the one before.
async function chained(c, between, roots, at, above = 0) {
  if (at < c.from || at > c.until) return false;
  if (c.extended && !c.extended.includes(OID.timeStamping) && !c.extended.includes('2.5.29.37.0')) return false;
  if (roots.some(r => same(r.raw, c.raw))) return true;
  if (above >= MAX_CHAIN) return false;
  for (const issuer of [...roots, ...between]) {
    const mayIssue = issuer.ca && issuer.path >= above && (issuer.usage === null || (issuer.usage & 4) !== 0); // keyCertSign
    if (issuer.subject !== c.issuer || !mayIssue || same(issuer.raw, c.raw)) continue;
    if (!await verifySPKI(issuer.spki, c.algorithm, '', c.tbs, c.signature)) continue;
    if (await chained(issuer, between, roots, at, above + 1)) return true;
  }
  return false;
}

// checkStamp holds a token to the message that it is said to be of, its signature, and whom the trust file names for
// time-stamping; it gives the time stated.
async function checkStamp(token, message, rootsDER) {
  if (token.length > MAX_TOKEN) throw new Error(token.length + ' bytes');
  const roots = rootsDER.map(certificate), outer = der(token);
  if (oid(part(outer, 0, 6, 'content type')) !== OID.signedData) throw new Error('no signed data');
  const data = part(part(outer, 1, 160, 'content'), 0, 48, 'signed data'), content = data.parts.find(p => p.tag === 48);
  if (!content || oid(content.parts[0]) !== OID.tstInfo) throw new Error('no time-stamp in it');
  const info = part(part(content, 1, 160, 'content'), 0, 4, 'content').value;
  const certificates = (data.parts.find(p => p.tag === 160) || {parts: []}).parts.filter(p => p.tag === 48).map(p => certificate(p.raw));
  const signers = data.parts[data.parts.length - 1];
  if (signers.tag !== 49 || signers.parts.length !== 1) throw new Error('it has not exactly one signer');
  if (certificates.length > 16) throw new Error(certificates.length + ' certificates');
  const at = await stamped(info, message);
  const signer = await signedInfo(signers.parts[0], info, certificates);
  if (!signer.extended || !signer.extended.includes(OID.timeStamping)) throw new Error('the signer\'s certificate is not for time-stamping');
  if (!await chained(signer, certificates, roots, at)) throw new Error('the signer\'s certificate comes from no authority of the trust file, or was not valid at that time');
  return new Date(at);
}

// stamped reads TSTInfo (RFC 3161, 2.4.2) and holds it to the message.
async function stamped(info, message) {
  const t = der(info), imprint = part(t, 2, 48, 'message imprint'), name = HASHES[oid(part(part(imprint, 0, 48, 'hash'), 0, 6, 'hash'))];
  if (name !== 'SHA-256' || !same(part(imprint, 1, 4, 'digest').value, await sha256(message))) throw new Error('it is of another message');
  return instant(part(t, 4, 24, 'time'));
}

// signedInfo checks a SignerInfo (RFC 5652, 5.3) over the content, and gives the signer's certificate.
async function signedInfo(s, content, certificates) {
  const sid = part(s, 1, 48, 'signer\'s issuer and serial number');
  const signer = certificates.find(c => c.issuer === hex(sid.parts[0].raw) && c.serial === hex(part(sid, 1, 2, 'serial number').value));
  if (!signer) throw new Error('it does not hold its one signer\'s certificate');
  const hash = HASHES[oid(part(part(s, 2, 48, 'hash'), 0, 6, 'hash'))], attributes = part(s, 3, 160, 'signed attributes');
  if (!hash) throw new Error('its hash is not SHA-256, SHA-384 or SHA-512');
  const attribute = (id, tag) => {
    const found = attributes.parts.filter(a => oid(part(a, 0, 6, 'attribute')) === id);
    if (found.length !== 1) throw new Error('a signed attribute is missing or twice there');
    const values = part(found[0], 1, 49, 'attribute');
    if (values.parts.length !== 1) throw new Error('a signed attribute has not one value');
    return part(values, 0, tag, 'attribute');
  };
  if (oid(attribute(OID.contentType, 6)) !== OID.tstInfo) throw new Error('something else than a time-stamp is signed');
  const digestOf = new Uint8Array(await crypto.subtle.digest(hash, content));
  if (!same(attribute(OID.messageDigest, 4).value, digestOf)) throw new Error('it is not what was signed');
  const message = Uint8Array.from(attributes.raw);
  message[0] = 49; // signed as a SET
  const signature = part(s, 5, 4, 'signature').value;
  if (!await verifySPKI(signer.spki, oid(part(part(s, 4, 48, 'algorithm'), 0, 6, 'algorithm')), hash, message, signature)) throw new Error('its signature does not verify');
  return signer;
}
