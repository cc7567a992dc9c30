// What the ledger binds: rows, signatures of people, policy bundles, and the report that rests on them.

// asker is the person who asked for a ceremony and signed that; undefined for one that a node began by itself.
const asker = c => c.requester.kind === 'human' ? c.requester.id : c.requester.called_by;

Object.assign(Verifier.prototype, {
  async rows() {
    this.index = (await this.json('rows/index.json')).rows;
    const files = new Set(['rows/index.json']), seen = new Set();
    let withheld = 0;
    for (const r of this.index) {
      const where = r.file || 'rows/index.json';
      if (!r.file && !(r.withheld && ['key_version', 'share', 'token'].includes(r.kind))) throw new Fault('missing', where, r.kind + ' ' + clip(r.id) + ' has neither a file nor a reason');
      if (!r.file) withheld++;
      if (r.file && hex(await sha256(await this.a.read(r.file))) !== r.hash) throw new Fault('row', where, 'its SHA-256 is not the row\'s');
      const name = r.kind + ' ' + r.id;
      if (seen.has(name) || (r.file && files.has(r.file))) throw new Fault('row', 'rows/index.json', r.kind + ' ' + clip(r.id) + ' or its file is there twice');
      seen.add(name);
      files.add(where);
      const e = this.entries.get(r.seq);
      if (!e) throw new Fault('missing', entryFile(r.seq), 'it wrote ' + r.kind + ' ' + clip(r.id));
      const matches = c => c && c.kind === r.kind && c.id === r.id && c.rev === r.revision && c.hash === r.hash;
      if (!(e.rows || []).some(matches)) throw new Fault('row', where, 'entry ' + r.seq + ' does not bind ' + r.kind + ' ' + clip(r.id) + ' with this hash');
      const newest = this.newest.get(name);
      if ((newest || this.complete) && !matches(newest)) throw new Fault('row', where, 'a later entry changed ' + r.kind + ' ' + clip(r.id));
    }
    for (const path of this.paths) if (path.startsWith('rows/') && !files.has(path)) throw new Fault('extra', path, 'no row of the index has it');
    this.say(each(this.index.length, 'authority row') + ' is bound by its hash to a ledger entry' + (this.complete ? ', in its newest revision.' : '.') +
      ' The content of ' + withheld + ' of them is withheld, as it holds wrapped keys or sealed shares.');
    if (!this.complete) return;
    const left = (kinds, fits) => [...this.newest].filter(([name, c]) => c.hash && kinds.includes(c.kind) && fits(c) && !seen.has(name)).map(([name]) => name).sort();
    const passed = left(['key', 'key_version', 'keystore', 'share_set'], () => true);
    this.say(passed.length === 0 ? 'Every key, key version, keystore and share set that the ledger knows is among the rows.'
      : 'The ledger knows ' + passed.length + ' keys, key versions, keystores or share sets that the report does not read: ' + few(passed) + '.');
    const unsigned = left(['ceremony', 'script_run', 'custody', 'person'], c => c.seq >= this.p.first && c.seq < this.p.end);
    this.say(unsigned.length === 0 ? 'Every ceremony, record of one, line of the custody log and person that an entry of the period wrote last is among the rows.'
      : 'Entries of the period wrote ' + unsigned.length + ' ceremonies, records, lines of the custody log or people that are NOT in the bundle: ' + few(unsigned) + '. Who signed them is not shown.');
  },

  async rowsOf(kind) {
    const out = [];
    for (const r of this.index) if (r.kind === kind && r.file) out.push([r, await this.json(r.file)]);
    return out;
  },

  async transcripts() {
    this.people = new Map();
    await this.each('person', 'format', (p, row) => {
      if (p.id !== row.id) throw new Error('it is the row of ' + clip(p.id));
      this.people.set(p.id, p);
    });
    let ceremonies = 0, signatures = 0, inexact = 0;
    await this.each('ceremony', 'transcript', async (c, row) => {
      if (c.id !== row.id) throw new Error('it is the row of ceremony ' + clip(c.id));
      signatures += await this.ceremony(c, row);
      ceremonies++;
      if (asker(c) && !c.exact) inexact++;
      if (c.operation.startsWith('custody.')) this.custody.set(c.id, c);
      if (bringsKey(c.operation)) this.bringing.set(c.id, c);
      if (row.seq >= this.p.first && row.seq < this.p.end) this.marks.add(c.policy_digest);
      await this.handedIn(c, row);
    });
    this.say(each(signatures, 'signature') + ' under ' + amount(ceremonies, 'ceremony') + ' is by a key of the person named, over exactly the operation, parameters, target, policy and checkpoint that the ceremony\'s row has; whoever is said to have asked or approved has signed.');
    this.sayRests();
    if (inexact > 0) this.say(amount(inexact, 'request') + (inexact === 1 ? ' is' : ' are') + ' signed in another spelling than the rows hold, or the service added what they act on: what exactly was asked for there is NOT shown; what was approved is.');
  },

  // payloadBy checks an envelope by a key of a person, revoked since or not: the key counted when it signed.
  async payloadBy(envelope, type, person, credential) {
    const p = this.people.get(person), e = openEnvelope(envelope);
    if (!p) throw new Error('the bundle holds no row of ' + clip(person) + ', who signed');
    if (e.type !== type) throw new Error('signature of ' + clip(person) + ': of another type');
    const key = (p.approval_keys || []).find(k => k.id === e.keyid && (!credential || k.id === credential));
    if (!key) throw new Error('signature of ' + clip(person) + ': the key is none of theirs');
    if (!await e.check(key.key)) throw new Error('signature of ' + clip(person) + ': does not verify');
    return {payload: e.payload, key: key.id};
  },

  async signedBy(...of) { return (await this.signedWith(...of)).value; },

  // signedWith is what was signed, and the id of the key.
  async signedWith(...of) {
    const {payload, key} = await this.payloadBy(...of), s = text(payload), value = JSON.parse(s);
    if (canonical(value) !== s) throw new Error('what ' + clip(of[2]) + ' signed is not canonical JSON (RFC 8785)');
    return {value, key};
  },

  async ceremony(c, row) {
    const requester = c.requester.kind === 'human' ? c.requester.id : c.requester.kind + ':' + c.requester.id;
    const person = asker(c);
    c.approvedWith = new Map();
    let count = 0;
    if (person) {
      const {value: r, key} = await this.signedWith(c.proposal, TYPE('request'), person);
      c.askedWith = key;
      this.noteUse(row, person, key);
      await this.askedOnce(r, c.id);
      if (r.instance !== this.m.instance || r.person !== person || r.method !== 'POST' || r.path.split('?')[0] !== '/v1/ceremonies') throw new Error('request: it is of another instance or person, or no proposal');
      c.exact = await digest({operation: c.operation, params: c.params, reason: c.reason || ''}) === r.body_sha256;
      count++;
    }
    for (const vote of c.votes || []) {
      if (!vote.envelope) throw new Error('the vote of ' + clip(vote.person) + ' carries no signature');
      const {value: s, key} = await this.signedWith(vote.envelope, TYPE('statement'), vote.person, vote.credential);
      const pairs = {instance: [s.instance, this.m.instance], mode: [s.mode, this.m.mode], ceremony: [s.ceremony, c.id], operation: [s.operation, c.operation],
        policy: [s.policy, c.policy_digest], requester: [s.requester, requester], signer: [s.signer, vote.person], decision: [s.decision, vote.decision],
        nonce: [s.nonce, c.nonce], target: [s.target.type + ' ' + s.target.id, c.target.type + ' ' + c.target.id],
        'target revision': [s.target.gov_revision, c.target.gov_revision || 0], checkpoint: [s.checkpoint.size + ' ' + s.checkpoint.root, c.checkpoint],
        parameters: [canonical(s.params), canonical(c.params)]};
      for (const [what, [signed, row]] of Object.entries(pairs)) if (signed !== row) throw new Error('statement of ' + clip(vote.person) + ': it covers another ' + what + ' than the ceremony has');
      inTime(s, vote);
      this.restsOn(s, vote.person, row);
      this.noteUse(row, vote.person, key);
      if (s.decision === 'approve') c.approvedWith.set(vote.person, key);
      count++;
    }
    for (const person of c.approvers || []) if (!c.approvedWith.has(person)) throw new Error(clip(person) + ' is said to have approved it and has not signed');
    try { this.approvedEnough(c); } catch (e) { this.short = this.short || new Fault('transcript', row.file, e.message); }
    return count;
  },

  async policies() {
    const parts = await this.rowsOf('policy_files'), digests = this.index.filter(r => r.kind === 'policy_bundle').map(r => r.id);
    for (const digest of digests) {
      const files = Object.assign({}, ...parts.filter(([, p]) => p.digest === digest).map(([, p]) => p.files));
      const framed = bytes => { const n = new Uint8Array(8); new DataView(n.buffer).setUint32(4, bytes.length); return concat(n, bytes); };
      const names = Object.keys(files).filter(n => !n.endsWith('_test.rego')).sort();
      const got = hex(await sha256(concat(...names.flatMap(n => [framed(utf8(n)), framed(utf8(files[n]))]))));
      if (got !== digest) throw new Fault('policy', 'rows/index.json', 'the files of bundle ' + clip(digest) + ' have digest ' + got);
    }
    this.say('Policy bundles that the bundle holds, each whole by its digest: ' + digests.length + '.');
    const absent = [...this.marks].filter(m => !digests.some(d => d.startsWith(m)));
    if (absent.length > 0) this.say('Entries or ceremonies of the period were decided under policy bundles that are NOT in it: ' + clip(absent.join(', ')));
  },

  async report() {
    const r = await this.json('report.json'), c = await this.json('catalogue.json'), m = this.m;
    const bad = detail => { throw new Fault('citation', 'report.json', detail); };
    await this.a.read('report.html');
    if (r.instance.id !== m.instance || r.instance.mode !== m.mode || r.framework !== m.framework || r.from !== m.from || r.to !== m.to ||
      r.checkpoint.size !== m.size || r.checkpoint.root !== m.root || r.checkpoint.note !== text(this.note)) bad('it is about another instance, period or checkpoint than the manifest');
    if (c.framework !== r.framework || c.version !== r.catalogue_version || c.controls.length !== r.controls.length || c.controls.some((x, i) => x.id !== r.controls[i].id)) throw new Fault('citation', 'catalogue.json', 'the report judges another catalogue');
    const key = x => [x.kind, x.id, x.revision, x.hash, x.seq].join(' '), have = new Set(this.index.map(key)), counts = {};
    const cited = row => {
      for (const seq of row.ledger || []) if (!this.entries.has(seq)) bad('entry ' + seq);
      for (const ref of row.rows || []) if (!have.has(key(ref))) bad(ref.kind + ' ' + clip(ref.id));
    };
    (r.who.rows || []).forEach(cited);
    for (const control of r.controls) {
      const {verdict, question, tables} = control.result;
      counts[verdict] = (counts[verdict] || 0) + 1;
      let violating = 0, attention = 0;
      for (const t of tables || []) {
        if (!(t.violating >= 0) || !(t.attention >= 0)) bad('control ' + control.id + ' counts fewer rows than none');
        violating += t.violating; attention += t.attention;
        for (const row of t.rows || []) {
          if (row.state === 'violating') violating++;
          if (row.state === 'attention') attention++;
          cited(row);
        }
      }
      if ((violating > 0 && verdict !== 'violated') || (verdict === 'satisfied' && (attention > 0 || question))) bad('control ' + control.id + ' is ' + verdict + ' against its own rows');
    }
    for (const verdict of [...Object.keys(r.counts), ...Object.keys(counts)]) if ((counts[verdict] || 0) !== (r.counts[verdict] || 0)) bad('its cover counts ' + (r.counts[verdict] || 0) + ' controls as ' + clip(verdict));
    let total = 0;
    for (const [type, n] of Object.entries(r.entries)) {
      if (!Number.isSafeInteger(n) || n < 0) bad('it counts ' + n + ' entries of type ' + clip(type));
      if (this.counts && this.counts.get(type) !== n) bad('it counts ' + n + ' entries of type ' + clip(type) + ', the period has ' + (this.counts.get(type) || 0));
      total += n;
    }
    if (total !== this.p.end - this.p.first) bad('it counts ' + total + ' entries, the period has ' + (this.p.end - this.p.first));
    this.say('The report judges ' + r.controls.length + ' controls of ' + r.framework + ', no verdict contradicts its rows, and it cites nothing that the bundle does not hold. How it judges them is the word of node ' + clip(this.m.node) + '. Go by what follows, which is from report.json: this page does not compare report.html with it.');
    this.verdicts = r.counts;
    this.controls = r.controls.map(c => ({id: c.id, title: c.title, verdict: c.result.verdict, conclusion: c.conclusion, attested: c.attested, why: c.result.question || c.result.summary}));
  },
});
