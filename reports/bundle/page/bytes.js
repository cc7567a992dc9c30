'use strict';
// Bytes, hashes and strict JSON. Whatever is wrong is thrown as a Fault: a kind, the file, and what.

class Fault extends Error {
  constructor(kind, file, detail) {
    super((file ? file + ': ' : '') + KINDS[kind] + (detail ? ': ' + detail : ''));
    this.kind = kind;
    this.file = file;
  }
}

const KINDS = {
  format: 'not an evidence bundle of this format',
  large: 'larger than a bundle may be',
  missing: 'file is missing',
  extra: 'file does not belong to the bundle',
  altered: 'file was altered',
  signature: 'not signed by a trusted key',
  foreign: 'belongs to another instance',
  checkpoint: 'checkpoint does not hold',
  proof: 'entry is not proven to be in the ledger',
  leftout: 'bundle does not account for every entry of the period',
  rollback: 'older than a checkpoint that is known',
  fork: 'checkpoints are of different logs',
  witness: 'witness or time-stamp does not hold',
  row: 'row is not the one that the ledger binds',
  transcript: 'ceremony is not signed as it says',
  provenance: 'approval key is not traced to the genesis file',
  acknowledgement: 'acknowledgement of duty is not signed as its row says',
  custody: 'custody log is not signed as it says',
  policy: 'policy bundle is not the one of its digest',
  citation: 'report cites what the bundle does not hold',
  trust: 'invalid trust file',
  browser: 'this browser cannot check it',
};

const encoder = new TextEncoder();
const utf8 = text => encoder.encode(text);
const text = bytes => new TextDecoder('utf-8', {fatal: true, ignoreBOM: true}).decode(bytes);
// few lists the first of many names.
const few = names => names.slice(0, 10).map(clip).join(', ') + (names.length > 10 ? ' and ' + (names.length - 10) + ' more' : '');
const clip = s => { s = String(s); return s.length > 80 ? s.slice(0, 80) + '…' : s; };

function concat(...parts) {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) { out.set(p, at); at += p.length; }
  return out;
}

const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
const sha256 = async bytes => new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
const hex = bytes => Array.from(bytes, b => b.toString(16).padStart(2, '0')).join('');

function base64(s, what) {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(s) || s.length % 4 !== 0) throw new Error(what + ' is not base64');
  const bytes = Uint8Array.from(atob(s), c => c.charCodeAt(0));
  if (toBase64(bytes) !== s) throw new Error(what + ' is not base64 in its one form');
  return bytes;
}
function toBase64(bytes) {
  let s = '';
  for (let i = 0; i < bytes.length; i += 8192) s += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(s);
}
const base64url = s => Uint8Array.from(atob(s.replace(/-/g, '+').replace(/_/g, '/')), c => c.charCodeAt(0));
const toBase64url = bytes => toBase64(bytes).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

// canonical writes a value as RFC 8785 does: members in order of their UTF-16 code units, numbers and strings as
// ECMAScript writes them.
function canonical(v) {
  if (Array.isArray(v)) return '[' + v.map(canonical).join(',') + ']';
  if (v !== null && typeof v === 'object') {
    return '{' + Object.keys(v).sort().map(k => JSON.stringify(k) + ':' + canonical(v[k])).join(',') + '}';
  }
  if (typeof v === 'string' && !v.isWellFormed()) throw new Error('a lone surrogate');
  return JSON.stringify(v);
}

// digest is the hex SHA-256 of a value as RFC 8785 JSON.
const digest = async v => hex(await sha256(utf8(canonical(v))));

// parse reads a file's JSON, which must be in its one form: so nothing in it is said twice.
function parse(file, bytes) {
  let v, s;
  let one;
  try { s = text(bytes); v = JSON.parse(s); one = canonical(v); } catch (e) { throw new Fault('format', file, e.message); }
  if (one !== s) throw new Fault('format', file, 'it is not canonical JSON (RFC 8785)');
  return v;
}

// amount says how many of a noun; each begins a sentence about all of them.
const noun = (n, one) => n === 1 ? one : one.endsWith('person') ? one.slice(0, -6) + 'people' : /[^ae]y$/.test(one) ? one.slice(0, -1) + 'ies' : one + 's';
const amount = (n, one) => n + ' ' + noun(n, one);
const each = (n, one) => n === 1 ? 'The one ' + one : 'Each of ' + amount(n, one);

// nanoseconds is an RFC 3339 time in UTC as a number since 1970.
function nanoseconds(s) {
  const m = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(s);
  const seconds = m ? Date.parse(m[1] + 'Z') : NaN;
  if (Number.isNaN(seconds)) throw new Error('not a time: ' + clip(s));
  return BigInt(seconds) * 1000000n + BigInt((m[2] || '').padEnd(9, '0'));
}
