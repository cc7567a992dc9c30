// The checks of docs/evidence.md, "Checking it", in its order. The first thing wrong is thrown.

class Verifier {
  constructor(archive, trust, say) {
    this.a = archive;
    this.trust = trust;
    this.say = say;
    this.entries = new Map(); // single entries by sequence number
    this.custody = new Map(); // ceremonies that hold signatures under lines of the custody log
    this.bringing = new Map(); // ceremonies by which approval keys came
    this.arrivals = new Map(); // what entries say of how keys came, by person and key
    this.roots = new Map(); // that the log had at earlier sizes, as far as the bundle shows them
    this.rests = {shown: 0, unknown: 0};
    this.requests = new Map(); // the ceremony that rests on each signed request
    this.uses = new Map(); // the earliest row of a ceremony that a key signed
    this.duties = new Set(); // acceptances of duty that were checked
    this.otherForms = 0;
    this.unbound = 0; // acknowledgements that name no instance
  }

  async run() {
    for (const step of ['signature', 'files', 'checkpoint', 'singles', 'period', 'handovers', 'witnessed', 'wanted', 'control', 'periodEntries', 'anchored',
      'rows', 'genesis', 'transcripts', 'provenance', 'quorums', 'signOffs', 'acknowledgements', 'custodyLog', 'policies', 'report']) await this[step]();
    return this.m;
  }

  async json(name) { return parse(name, await this.a.read(name)); }

  async signature() {
    const bytes = await this.a.read('MANIFEST.json');
    const signature = await this.json('MANIFEST.dsse.json');
    this.m = parse('MANIFEST.json', bytes);
    if (this.m.format !== 'conclave-evidence-3') throw new Fault('format', 'MANIFEST.json', 'format ' + clip(this.m.format));
    this.keys = await this.json('keys.json');
    const t = this.trust;
    if (t && t.instance !== this.m.instance) throw new Fault('foreign', 'MANIFEST.json', 'instance ' + clip(this.m.instance) + ', the trust file is of ' + t.instance);
    if (t && t.mode !== this.m.mode) throw new Fault('foreign', 'MANIFEST.json', clip(this.m.mode) + ' mode');
    const bad = detail => { throw new Fault('signature', 'MANIFEST.dsse.json', detail); };
    let envelope;
    try { envelope = openEnvelope(signature); } catch (e) { bad(e.message); }
    if (envelope.type !== 'application/vnd.conclave.evidence-manifest+json') bad('of another type');
    if (!same(envelope.payload, bytes)) throw new Fault('altered', 'MANIFEST.json', 'it is not what was signed');
    const nodes = t ? t.node_keys || [] : [this.keys.node_key];
    let signer = null;
    for (const k of nodes) if (await envelope.check(k)) signer = k.kid;
    if (signer === null) bad('not signed by any of these nodes');
    if (signer !== this.m.node) bad('the key of node ' + clip(signer) + ' signed for node ' + clip(this.m.node));
    this.logKeys = t ? t.log_keys : this.keys.log_keys;
    this.handed = t && t.handovers || [];
    this.say('The manifest is signed by the key of node ' + signer + ', which ' + (t ? 'the trust file pins.' : 'the bundle itself names.'));
  }

  async files() {
    const listed = new Set(['MANIFEST.json', 'MANIFEST.dsse.json']);
    for (const f of this.m.files) {
      if (listed.has(f.path)) throw new Fault('format', 'MANIFEST.json', clip(f.path) + ' is listed twice');
      listed.add(f.path);
      if (!ofTheFormat(f.path)) throw new Fault('extra', f.path, 'the format has no such file');
      const data = await this.a.read(f.path);
      if (data.length !== f.bytes || hex(await sha256(data)) !== f.sha256) throw new Fault('altered', f.path, 'its SHA-256 is not the one in the manifest');
    }
    for (const name of this.a.names()) if (!listed.has(name)) throw new Fault('extra', name);
    this.paths = this.m.files.map(f => f.path);
    this.say('All ' + this.m.files.length + ' files are there, none is extra, and each has the SHA-256 that the manifest states.');
  }

  async checkpoint() {
    this.note = await this.a.read('checkpoint');
    this.chain = await keyChain(this.logKeys[0], this.m.instance);
    await this.chain.follow('the trust file', this.handed);
    if (this.trust && this.chain.keys.length !== this.logKeys.length) throw new Fault('format', 'the trust file', 'its handovers lead to other log keys than it names');
    const pinned = this.logKeys.length, least = this.trust && this.trust.checkpoint;
    this.least = least ? await openCheckpoint('the trust file', utf8(least), this.m.instance, this.chain.keys) : {size: 0};
    await this.chain.follow('keys.json', this.keys.handovers || []);
    this.logKeys = this.chain.keys;
    const followed = this.logKeys.length - pinned;
    this.head = await openCheckpoint('checkpoint', this.note, this.m.instance, this.logKeys);
    if (this.head.size !== this.m.size || toBase64(this.head.root) !== this.m.root) throw new Fault('checkpoint', 'checkpoint', 'it is not the one that the manifest names');
    this.say('The checkpoint of ' + this.head.size + ' entries is signed by a log key that ' + (followed > 0 ? 'succeeds the one which the trust file pins: ' + followed + (followed === 1 ? ' handover' : ' handovers') + ', each signed by the key before it and by the new one.'
      : this.trust ? 'the trust file pins.' : 'the bundle itself names.'));
    if (this.least.size === 0) return;
    if (this.least.size > this.head.size) throw new Fault('rollback', 'checkpoint', 'it has ' + this.head.size + ' entries, the trust file\'s has ' + this.least.size);
    this.continued = this.least.size === this.head.size;
    if (this.continued && !same(this.least.root, this.head.root)) throw new Fault('fork', 'checkpoint', 'it has as many entries as the trust file\'s and another root');
  }

  async singles() {
    for (const path of this.paths) {
      if (path.startsWith('proofs/') && !this.a.has(path.replace('proofs/', 'entries/').replace('.tlog-proof', '.json'))) throw new Fault('extra', path, 'a proof without an entry');
      if (!path.startsWith('entries/')) continue;
      const m = /^entries\/(\d{12,})\.json$/.exec(path);
      if (!m || entryFile(Number(m[1])) !== path) throw new Fault('extra', path, 'its name is no sequence number');
      await this.single(path, m[1]);
    }
    const genesis = this.entries.get(0);
    if (!genesis) throw new Fault('missing', entryFile(0));
    if (genesis.type !== 'genesis' || genesis.target.id !== this.m.instance) throw new Fault('foreign', entryFile(0), 'the ledger\'s first entry is of another instance');
    this.say('All ' + this.entries.size + ' single entries are proven to be in that checkpoint\'s log (RFC 6962), and entry 0 is this instance\'s genesis.');
  }

  async single(path, digits) {
    const seq = Number(digits), proofFile = 'proofs/' + digits + '.tlog-proof';
    const raw = await this.a.read(path), proof = text(await this.a.read(proofFile)), cut = proof.indexOf('\n\n');
    const lines = proof.slice(0, cut).split('\n');
    if (cut < 0 || lines[0] !== 'c2sp.org/tlog-proof@v1' || lines[1] !== 'index ' + seq || !same(utf8(proof.slice(cut + 2)), this.note)) throw new Fault('proof', proofFile, 'it is of another entry or checkpoint');
    let hashes;
    try { hashes = lines.slice(2).map(l => base64(l, 'hash')); } catch (e) { throw new Fault('proof', proofFile, e.message); }
    if (!await included(await leafHash(raw), seq, this.head.size, hashes, this.head.root)) throw new Fault('proof', path);
    const e = parse(path, raw);
    if (e.seq !== seq) throw new Fault('proof', path, 'it says of itself that it is entry ' + e.seq);
    this.entries.set(seq, e);
    this.noteArrival(e);
  }

  async hashes(name) {
    const data = await this.a.read(name), out = [];
    if (data.length % 32 !== 0) throw new Fault('format', name, 'no whole number of hashes');
    for (let i = 0; i < data.length; i += 32) out.push(data.subarray(i, i + 32));
    return out;
  }

  async period() {
    const p = this.p = await this.json('ledger/period.json');
    if (![p.first, p.end, p.start, p.after, p.control_from].every(n => Number.isSafeInteger(n) && n >= 0)) throw new Fault('format', 'ledger/period.json');
    if (p.first > p.end || p.end > this.head.size || p.start > p.first || (p.after !== 0 && (p.after < p.end || p.after >= this.head.size))) throw new Fault('format', 'ledger/period.json');
    let newer = this.head;
    for (const [file, size, what] of [['ledger/end', p.after, 'at the end of'], ['ledger/start', p.start, 'before']]) {
      if (size === 0) {
        for (const name of [file, file + '.hashes']) if (this.a.has(name)) throw new Fault('extra', name);
        continue;
      }
      const older = await openCheckpoint(file, await this.a.read(file), this.m.instance, this.logKeys);
      if (older.size !== size) throw new Fault('checkpoint', file, 'it is of ' + older.size + ' entries');
      if (!await isSame(older, newer, await this.hashes(file + '.hashes'))) throw new Fault('fork', file, 'the log of ' + newer.size + ' entries is not shown to continue it');
      this.say('The checkpoint kept ' + what + ' the period (' + size + ' entries) is signed by the log key, and the log of ' + newer.size + ' entries continues it.');
      newer = older;
      if (file === 'ledger/start') this.start = older;
    }
  }

  async handovers() {
    for (const [i, note] of (this.keys.handovers || []).entries()) {
      const at = this.chain.notes.findIndex(n => n.slice(0, n.lastIndexOf('\n\n')) === note.slice(0, note.lastIndexOf('\n\n')));
      if (at < 0) continue; // before the pinned key's: nothing here rests on it
      const handed = this.chain.heads[at];
      if (!await isSame(handed, this.head, await this.hashes('ledger/handovers/' + String(i).padStart(6, '0') + '.hashes'))) throw new Fault('fork', 'keys.json', 'the log of ' + this.head.size + ' entries is not shown to continue the checkpoint of ' + handed.size + ' at which its key was replaced');
      this.say('The log key was replaced at ' + handed.size + ' entries; the log continues that checkpoint, which the old key and the new one signed.');
    }
  }

  // rotations holds what the control plane says of the log key to the keys by which the checkpoint was accepted.
  rotations(turns) {
    const bad = detail => { throw new Fault('signature', 'checkpoint', detail); };
    let inForce = this.chain.keys[0].line;
    for (const [i, handed] of this.chain.heads.entries()) {
      if (handed.size > this.head.size) break;
      inForce = this.chain.keys[i + 1].line;
      if (!turns.some(e => e.seq < handed.size && e.detail.new === handed.next)) bad('the log key was handed over at ' + handed.size + ' entries, and no entry before says so');
    }
    const last = turns[turns.length - 1];
    if (last && last.detail.new !== inForce && last.detail.new !== this.head.next) bad('entry ' + last.seq + ' replaces the log key, and the checkpoint is signed by another key than the one put in force');
  }

  async witnessed() {
    const keys = await Promise.all(((this.trust || {}).witness_keys || []).map(k => noteKey(k, 4)));
    let count = 0;
    for (const path of this.paths.filter(p => p.startsWith('ledger/witnessed/') && p.endsWith('.note'))) {
      const {note, older} = await this.continuing(path, path.replace('.note', '.hashes'));
      const found = await cosignatures(path, note, keys);
      count += found.length;
      for (const c of found) this.say('Witness ' + clip(c.name) + ' signed on ' + c.at + ' that it saw the checkpoint of ' + older.size + ' entries and none that contradicts it; the log continues it.');
      if (found.length === 0) this.say('A checkpoint of ' + older.size + ' entries, which the log continues, bears cosignatures of nobody whom a trust file names: they were not checked.');
    }
    if (keys.length > 0 && count === 0) this.say('The trust file names ' + keys.length + ' witnesses; the bundle holds no cosignature of any: that others saw the same ledger is NOT shown.');
    await this.stamped();
  }

  // continuing opens a checkpoint and checks that the bundle's continues it.
  async continuing(file, proof) {
    const note = await this.a.read(file), older = await openCheckpoint(file, note, this.m.instance, this.logKeys);
    if (!await isSame(older, this.head, await this.hashes(proof))) throw new Fault('fork', file, 'the log of ' + this.head.size + ' entries is not shown to continue it');
    return {note, older};
  }

  async stamped() {
    if (!this.a.has('ledger/stamped.tsr')) return;
    const {note, older} = await this.continuing('ledger/stamped', 'ledger/stamped.hashes'), roots = (this.trust || {}).timestamp_roots || [];
    if (roots.length === 0) {
      this.say('A time-stamp of the checkpoint of ' + older.size + ' entries is there; without timestamp_roots in a trust file it was not checked.');
      return;
    }
    let at;
    try { at = await checkStamp(await this.a.read('ledger/stamped.tsr'), note, roots.map(r => base64(r, 'timestamp_roots'))); } catch (e) {
      if (e instanceof Fault) throw e;
      throw new Fault('witness', 'ledger/stamped.tsr', e.message);
    }
    this.say('A time-stamping authority of the trust file says that the checkpoint of ' + older.size + ' entries existed on ' + at.toISOString() + ' (RFC 3161); the log continues it.');
  }

  async *packed(folder, ending) {
    const count = this.paths.filter(p => p.startsWith(folder)).length;
    for (let i = 0; i < count; i++) {
      const name = folder + String(i).padStart(6, '0') + '.' + ending;
      yield [name, await this.a.read(name)];
    }
  }

  async *packedEntries(folder) {
    for await (const [name, data] of this.packed(folder, 'entries')) {
      for (let at = 0; at < data.length;) {
        const n = data[at] * 256 + data[at + 1];
        if (!(n > 0) || at + 2 + n > data.length) throw new Fault('format', name, 'cut inside an entry');
        const raw = data.subarray(at + 2, at + 2 + n);
        yield {name, raw, entry: parse(name, raw)};
        at += 2 + n;
      }
    }
  }

  async cover(file, spans, known) {
    let roots;
    try { roots = await covered(this.head, spans, await this.hashes(file), known, [...this.sizes, this.least.size]); } catch (e) {
      if (e instanceof Fault) throw e;
      throw new Fault('leftout', file, e.message);
    }
    for (const [size, root] of roots) this.roots.set(size, root);
    const root = roots.get(this.least.size);
    if (!root || this.continued) return;
    if (!same(root, this.least.root)) throw new Fault('fork', 'checkpoint', 'its first ' + this.least.size + ' entries are not those of the trust file\'s checkpoint');
    this.continued = true;
    this.say('The log continues the trust file\'s checkpoint of ' + this.least.size + ' entries.');
  }

  async control() {
    let number = 0, last = 0;
    if (this.p.control_from > 0) {
      if (!this.start || this.start.controlCount !== this.p.control_from) throw new Fault('leftout', 'ledger/period.json', 'control-plane entries begin where no checkpoint says');
      number = this.start.controlCount; last = this.start.controlLast;
    }
    const seqs = [], known = [], turns = [];
    this.newest = new Map();
    this.marks = new Set();
    this.deletions = [];
    for await (const {name, raw, entry} of this.packedEntries('ledger/control/')) {
      const l = entry.link;
      if (!l || l.n !== number || l.prev !== last || (seqs.length > 0 && entry.seq <= last)) throw new Fault('leftout', name, 'entry ' + entry.seq + ' stands where control-plane entry number ' + number + ', the one after entry ' + last + ', is due');
      number++; last = entry.seq;
      seqs.push(entry.seq); known.push(await leafHash(raw));
      for (const r of entry.rows || []) this.newest.set(r.kind + ' ' + r.id, {...r, seq: entry.seq});
      this.mark(entry);
      this.noteArrival(entry);
      if (entry.type === 'logkey.rotate' && entry.outcome === 'done') turns.push(entry);
      if (entry.type === 'ledger.delete-archived' && entry.outcome === 'done') this.deletions.push(deletion(name, entry));
    }
    if (number !== this.head.controlCount || last !== this.head.controlLast) throw new Fault('leftout', 'ledger/control/', number + ' control-plane entries, the last at ' + last + '; the checkpoint counts ' + this.head.controlCount + ', the last at ' + this.head.controlLast);
    await this.cover('ledger/control.hashes', entrySpans(seqs), known);
    this.complete = this.p.control_from === 0;
    if (this.complete) this.rotations(turns);
    this.say(this.complete ? 'The bundle holds all ' + number + ' control-plane entries, in an unbroken chain up to the checkpoint.'
      : 'The bundle holds all control-plane entries from number ' + this.p.control_from + ', before the period, to the checkpoint\'s last. What was written before is not in it.');
  }

  mark(e) { if (e.policy && e.seq >= this.p.first && e.seq < this.p.end) this.marks.add(e.policy); }

  inside(e) {
    const at = BigInt(e.at) * 1000n;
    return at >= nanoseconds(this.m.from) && at < nanoseconds(this.m.to);
  }

  async periodEntries() {
    const {first, end, form} = this.p, edges = [];
    if (first > 0) edges.push(first - 1);
    if (first < end) edges.push(first, end - 1);
    if (end < this.head.size) edges.push(end);
    for (const seq of edges) {
      const e = this.entries.get(seq);
      if (!e && (seq < first || seq >= end) && this.deletedEdge(seq)) continue;
      if (!e) throw new Fault('missing', entryFile(seq), 'it shows where the period ends or begins');
      if (this.inside(e) !== (seq >= first && seq < end)) throw new Fault('leftout', entryFile(seq), 'the period is said to be entries ' + first + ' to ' + end + ', and its time says otherwise');
    }
    if (!['entries', 'leaves', 'subtrees'].includes(form)) throw new Fault('format', 'ledger/period.json', 'form ' + clip(form));
    const spans = rangeSpans(first, end, form === 'subtrees' ? 256 : 1);
    let known = [];
    if (form === 'entries') {
      this.counts = new Map();
      let seq = first;
      for await (const {name, raw, entry} of this.packedEntries('ledger/period/')) {
        if (entry.seq !== seq) throw new Fault('leftout', name, 'entry ' + entry.seq + ' stands where entry ' + seq + ' is due');
        if (!this.inside(entry)) throw new Fault('leftout', name, 'entry ' + seq + ' is outside the period');
        known.push(await leafHash(raw));
        this.counts.set(entry.type, (this.counts.get(entry.type) || 0) + 1);
        this.mark(entry);
        seq++;
      }
    } else {
      for await (const [name] of this.packed('ledger/period/', 'hashes')) known = known.concat(await this.hashes(name));
    }
    const due = spans.reduce((n, s) => n + (s.to - s.from) / s.step, 0);
    if (known.length !== due) throw new Fault('leftout', 'ledger/period.json', 'of ' + due + ' ' + form + ' ' + known.length + ' are there');
    await this.cover('ledger/period.hashes', spans, known);
    this.say(form === 'entries' ? 'All ' + (end - first) + ' entries of the period are in the bundle, in order, and none is left out: with what covers the rest they make the checkpoint\'s root.'
      : 'The bundle accounts for all ' + (end - first) + ' entries of the period by their hashes, which make the checkpoint\'s root: none is left out.');
  }

  // deletedEdge stands for an entry beside the period that the ledger records as deleted, with entries of another time.
  deletedEdge(seq) {
    const d = this.deletions.find(x => x.from <= seq && seq < x.to), after = seq >= this.p.end;
    if (!d) return false;
    const at = after ? d.firstAt : d.lastAt;
    if (at === null || (after ? at < nanoseconds(this.m.to) : at >= nanoseconds(this.m.from))) throw new Fault('leftout', entryFile(seq), 'entries ' + d.from + ' to ' + (d.to - 1) + ' were deleted by ceremony ' + clip(d.ceremony) + '; that none of them is of the period is not recorded (entry ' + d.seq + ')');
    this.say('Entry ' + seq + ', next to the period and ' + (after ? 'after' : 'before') + ' it, was deleted under retention by ceremony ' + clip(d.ceremony) + ' (entry ' + d.seq + '). Its time is NOT shown; the record says that the ' + (after ? 'first' : 'last') + ' of entries ' + d.from + ' to ' + (d.to - 1) + ', deleted together, was of ' + (after ? d.firstText : d.lastText) + '.');
    return true;
  }

  async anchored() {
    if (this.least.size > 0 && !this.continued) this.say('The checkpoint is not older than the trust file\'s (' + this.least.size + ' entries); that it continues it is NOT shown by this bundle.');
  }
}

// deletion reads the entry that records one: whole groups before it, and from when to when they were.
function deletion(name, e) {
  const {from, to, first_at: firstText, last_at: lastText} = e.detail || {}, whole = n => Number.isSafeInteger(n) && n >= 0 && n % 256 === 0;
  if (!whole(from) || !whole(to) || from >= to || to > e.seq || !e.target || e.target.type !== 'ledger_segment' || !e.target.id || !e.ceremony) throw new Fault('format', name, 'entry ' + e.seq + ' deletes entries and does not say which, or by which ceremony');
  const time = t => { try { return nanoseconds(t); } catch { return null; } };
  return {from, to, firstText, lastText, firstAt: time(firstText), lastAt: time(lastText), seq: e.seq, ceremony: e.ceremony};
}

const entryFile = seq => 'entries/' + String(seq).padStart(12, '0') + '.json';

// ofTheFormat says whether a bundle may hold a file of this name: what nobody checks has no place beside what was checked.
const ofTheFormat = name => ['checkpoint', 'keys.json', 'catalogue.json', 'report.json', 'report.html', 'ledger/period.json', 'ledger/start', 'ledger/end', 'ledger/start.hashes',
  'ledger/end.hashes', 'ledger/control.hashes', 'ledger/period.hashes', 'ledger/stamped', 'ledger/stamped.hashes', 'ledger/stamped.tsr'].includes(name) ||
  ['entries/', 'proofs/', 'rows/', 'ledger/witnessed/', 'ledger/handovers/', 'ledger/control/', 'ledger/period/'].some(folder => name.startsWith(folder));
